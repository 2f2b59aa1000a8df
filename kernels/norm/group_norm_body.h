/// \file
/// The bodies of the micro-kernels of group norm, for the ISA of the including file.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/epilogue_apply.h"
#include "kernels/norm/group_norm.h"

namespace ipex_quant::kernels {
namespace {

/// Adds `Rows` rows to the sums, in their order.
template <int Rows, class Term>
inline void add_rows(const ColumnSumsArgs& args, const float* src, const Term& term) {
  for_vectors(args.channels, [&](int64_t c, int64_t count) {
    F32 sum = load_some(args.sums + c, count);
    unroll<Rows>([&](auto r) IQ_INLINE {
      sum = term(sum, load_some(src + r * args.channels + c, count), c, count);
    });
    store_some(args.sums + c, sum, count);
  });
}

template <class Term>
inline void sum_columns(const ColumnSumsArgs& args, const Term& term) {
  constexpr int kTogether = 4;
  for (int64_t c = 0; c < args.channels; ++c) args.sums[c] = 0;
  int64_t row = 0;
  for (; row + kTogether <= args.rows; row += kTogether) {
    add_rows<kTogether>(args, args.src + row * args.channels, term);
  }
  for (; row < args.rows; ++row) add_rows<1>(args, args.src + row * args.channels, term);
}

inline void column_sums_body(const ColumnSumsArgs& args) {
  if (args.mean == nullptr) {
    return sum_columns(args, [](F32 sum, F32 x, int64_t, int64_t) { return add(sum, x); });
  }
  sum_columns(args, [&](F32 sum, F32 x, int64_t c, int64_t count) {
    const F32 d = sub(x, load_some(args.mean + c, count));
    return fma(d, d, sum);
  });
}

/// Rows and columns that are finished together, in L1.
constexpr int64_t kNormBlock = 1024;

inline void channel_norm_body(const ChannelNormArgs& args) {
  const EpiloguePlan& plan = *args.epilogue;
  const int64_t bytes = plan.chain.quantize ? 1 : sizeof(float);
  for (int64_t first = 0; first < args.channels; first += kEpilogueRow) {
    const int64_t left = args.channels - first;
    const int64_t n = left < kEpilogueRow ? left : kEpilogueRow;
    const int64_t stride = (n + kLanes - 1) / kLanes * kLanes;
    const int64_t most = kNormBlock / stride;
    for (int64_t row = 0; row < args.rows; row += most) {
      const int64_t rows = args.rows - row < most ? args.rows - row : most;
      alignas(64) float y[kNormBlock];
      for (int64_t r = 0; r < rows; ++r) {
        const float* x = args.src + (row + r) * args.channels + first;
        for_vectors(n, [&](int64_t c, int64_t count) {
          const int64_t at = first + c;
          const F32 centred = sub(load_some(x + c, count), load_some(args.mean + at, count));
          store(y + r * stride + c,
                fma(mul(centred, load_some(args.factor + at, count)),
                    load_some(args.weight + at, count), load_some(args.bias + at, count)));
        });
      }
      apply_chain(plan, y, rows, stride, n, /*dst_rows=*/nullptr, first);
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t at = (row + r) * args.channels + first;
        store_row(plan, y + r * stride, n, static_cast<char*>(args.dst) + at * bytes);
      }
    }
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
