/// \file
/// The body of the finishing step, for the ISA of the including file.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/dynamic/finish.h"
#include "kernels/epilogue_apply.h"
#include "kernels/recurrent/dot4.h"

namespace ipex_quant::kernels {
namespace {

inline void dynamic_finish_body(const DynamicFinishArgs& args) {
  const int64_t bytes = args.epilogue->chain.quantize ? 1 : 4;
  alignas(64) float y[kEpilogueRow];
  for (int64_t r = 0; r < args.rows; ++r) {
    const I32 zero_point = set1i(args.row_zero_point[r * args.param_stride]);
    const F32 row_scale = set1(args.row_scale[r * args.param_stride]);
    const int32_t* acc = args.acc + r * args.acc_stride;
    for (int64_t i = 0; i < args.columns; i += kLanes) {
      const I32 sum = sub(load(acc + i), mul(load(args.sums + i), zero_point));
      store(y + i, fma(to_float(sum), mul(row_scale, load(args.scale + i)), load(args.bias + i)));
    }
    finish_row(*args.epilogue, y, args.columns, args.first_row + r, args.first_column,
               static_cast<uint8_t*>(args.dst) + r * args.dst_stride * bytes);
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
