/// \file
/// The bodies of softmax and layer norm, for the ISA of the including file.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/eltwise/quantize_block.h"
#include "kernels/epilogue_apply.h"
#include "kernels/norm/fold_row.h"

namespace ipex_quant::kernels {
namespace {

/// Elements that are quantized while they are in the first cache; a multiple of kRowLanes.
constexpr int64_t kNormChunk = 256;
/// Exponentials of longer rows are computed twice.
constexpr int64_t kKeptExponentials = 4096;

/// exp(y) for y <= 0, or NaN. Below -80 it is exp(-80), which is nothing beside a sum of 1 or more,
/// and far from the denormals that slow a CPU down.
inline IQ_INLINE F32 exp_down(F32 y) {
  const ExpParts e = exp_parts(max(set1(-80.0f), y));
  const F32 exp_r = add(fma(mul(e.r, e.r), e.p, e.r), set1(1.0f));
  return mul(exp_r, exp2_int(to_int(e.n)));
}

/// quantize_range() for short ranges.
inline void quantize_short(const ToBytes& to, const float* src, uint8_t* dst, int64_t n) {
  int64_t i = 0;
  for (; i + kQuantizeBlock <= n; i += kQuantizeBlock) quantize_block(to, src + i, dst + i);
  const F32 low = set1(static_cast<float>(0 - to.zero_point));
  const F32 high = set1(static_cast<float>(255 - to.zero_point));
  for_vectors(n - i, [&](int64_t j, int64_t count) {
    const F32 x = load_some(src + i + j, count);
    store_u8_some(dst + i + j, quantize_v(x, to.inv_scale, low, high, set1i(to.zero_point)), count);
  });
}

inline void softmax_body(const SoftmaxArgs& args) {
  float kept[kKeptExponentials];
  const bool keeps = args.cols <= kKeptExponentials;
  for (int64_t row = 0; row < args.rows; ++row) {
    const float* src = args.src + row * args.cols;
    uint8_t* dst = args.dst + row * args.cols;
    const F32 most = set1(max_row(src, args.cols));
    RowLanes sums(0.0f);
    // Writes kRowLanes floats: `kept` has room for whole blocks.
    const auto exponentials = [&](const RowLanes& x, float* e) IQ_INLINE {
      unroll<kRowVectors>([&](auto v) IQ_INLINE {
        const F32 y = exp_down(sub(x.v[v], most));
        store(e + v * kLanes, y);
        sums.v[v] = add(sums.v[v], y);
      });
    };
    for_row_blocks(src, args.cols, kLowest, [&](int64_t i, const RowLanes& x) IQ_INLINE {
      exponentials(x, keeps ? kept + i : kept);
    });
    const ToBytes to(args.inv_scale / fold_lanes(sums, Sum()), args.zero_point);
    if (keeps) {
      quantize_short(to, kept, dst, args.cols);
      continue;
    }
    for (int64_t i = 0; i < args.cols; i += kNormChunk) {
      const int64_t n = args.cols - i < kNormChunk ? args.cols - i : kNormChunk;
      for_row_blocks(src + i, n, kLowest,
                     [&](int64_t j, const RowLanes& x) IQ_INLINE { exponentials(x, kept + j); });
      quantize_short(to, kept, dst + i, n);
    }
  }
}

/// y = fma((x - mean) * factor, weight, bias) for n elements.
inline void normalize(const float* x, const float* weight, const float* bias, F32 mean, F32 factor,
                      float* y, int64_t n) {
  for_vectors(n, [&](int64_t i, int64_t count) {
    const F32 centred = sub(load_some(x + i, count), mean);
    const F32 result =
        fma(mul(centred, factor), load_some(weight + i, count), load_some(bias + i, count));
    store_some(y + i, result, count);
  });
}

/// dst = a * b for n elements; dst may be a.
inline void multiply(const float* a, const float* b, float* dst, int64_t n) {
  for_vectors(n, [&](int64_t i, int64_t count) {
    store_some(dst + i, mul(load_some(a + i, count), load_some(b + i, count)), count);
  });
}

inline void layer_norm_body(const LayerNormArgs& args) {
  const ToBytes to(args.inv_scale, args.zero_point);
  const auto count = static_cast<float>(args.cols);
  for (int64_t row = 0; row < args.rows; ++row) {
    const float* src = args.src + row * args.cols;
    const float mean = sum_row(src, args.cols, 0.0f, [](F32 x) IQ_INLINE { return x; }) / count;
    const F32 means = set1(mean);
    const float variance = sum_row(src, args.cols, mean,
                                   [&](F32 x) IQ_INLINE {
                                     const F32 d = sub(x, means);
                                     return mul(d, d);
                                   }) /
                           count;
    const F32 factor = set1(1.0f / __builtin_sqrtf(variance + args.eps));
    for (int64_t i = 0; i < args.cols; i += kNormChunk) {
      const int64_t n = args.cols - i < kNormChunk ? args.cols - i : kNormChunk;
      const int64_t at = row * args.cols + i;
      float chunk[kNormChunk];
      float* y = args.dst == nullptr ? chunk : args.dst + at;
      normalize(src + i, args.weight + i, args.bias + i, means, factor, y, n);
      if (args.factor != nullptr) {
        multiply(y, args.factor + i, chunk, n);
        y = chunk;
      }
      quantize_short(to, y, args.bytes + at, n);
    }
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
