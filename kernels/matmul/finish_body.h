/// \file
/// The body of the finishing step, for the ISA of the including file.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/epilogue_apply.h"
#include "kernels/matmul/steps.h"

namespace ipex_quant::kernels {
namespace {

inline void finish_body(const FinishArgs& args) {
  const F32 scale = set1(args.scale);
  const int64_t bytes = args.epilogue->chain.quantize ? 1 : 4;
  alignas(64) float y[kEpilogueRow];
  for (int64_t r = 0; r < args.rows; ++r) {
    const I32 term = set1i(args.row_terms[r]);
    const int32_t* acc = args.acc + r * args.acc_stride;
    // acc has room for whole vectors.
    for (int64_t i = 0; i < args.columns; i += kLanes) {
      store(y + i, fma(to_float(sub(load(acc + i), term)), scale, set1(0.0f)));
    }
    finish_row(*args.epilogue, y, args.columns, args.first_row + r, args.first_column,
               static_cast<uint8_t*>(args.dst) + r * args.dst_stride * bytes);
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
