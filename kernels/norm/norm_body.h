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

/// exp(y) for y <= 0, or NaN, within 8 * 2^-24 of it above -20. Below -80 it is exp(-80), which is
/// nothing beside a sum of 1 or more, and far from the denormals that slow a CPU down.
template <class V>
inline IQ_INLINE V exp_down(V y) {
  const F32 log2_e = set1(0x1.715476p+0f);
  // 1.5 * 2^23 + 127: the sum has no fraction, its last bits are n + 127, where n is the integer
  // next to y / ln 2.
  const F32 magic = set1(12583039.0f);
  y = max(set1(-80.0f), y);
  const V sum = fma(y, log2_e, magic);
  const V f = fma(y, log2_e, sub(magic, sum));  // y / ln 2 - n
  // 2^f, minimax on |f| <= 1/2 for the relative error: degree 5, 1.1e-7.
  V p = fma(set1(0x1.5bb988p-10f), f, set1(0x1.3ceb1p-7f));
  p = fma(p, f, set1(0x1.c6b758p-5f));
  p = fma(p, f, set1(0x1.ebf9bap-3f));
  p = fma(p, f, set1(0x1.62e42ap-1f));
  p = fma(p, f, set1(1.0f));
  return mul(p, as_float(shift_left(as_int(sum), 23)));
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

/// Rows of softmax on which each step runs before the next one starts, so that the folds of many
/// rows overlap.
constexpr int64_t kSoftmaxRows = 8;

/// e = exp(x - most) of one block of a row; adds it to the sums.
inline IQ_INLINE void exponentials_of(const RowLanes& x, F32 most, float* e, RowLanes& sums) {
  F32s<kRowVectors> y;
  unroll<kRowVectors>([&](auto v) IQ_INLINE { y.v[v] = x.v[v]; });
  y = exp_down(sub(y, most));
  store_wide(e, y);
  unroll<kRowVectors>([&](auto v) IQ_INLINE { sums.v[v] = add(sums.v[v], y.v[v]); });
}

/// e = exp(x - most) of n elements of a row; `e` has room for whole blocks. \return `sums` and
/// theirs
inline IQ_INLINE RowLanes exponentials(const float* x, int64_t n, float most, float* e,
                                       RowLanes sums) {
  const F32 highest = set1(most);
  int64_t done = 0;
  if constexpr (kRowVectors == 2) {  // two blocks at a time fill the latencies
    for (; done + 2 * kRowLanes <= n; done += 2 * kRowLanes) {
      const F32s<4> y = exp_down(sub(load_wide<4>(x + done), highest));
      store_wide(e + done, y);
      sums.v[0] = add(add(sums.v[0], y.v[0]), y.v[2]);
      sums.v[1] = add(add(sums.v[1], y.v[1]), y.v[3]);
    }
  }
  for_row_blocks(x + done, n - done, kLowest, [&](int64_t i, const RowLanes& block) IQ_INLINE {
    exponentials_of(block, highest, e + done + i, sums);
  });
  return sums;
}

/// Rows whose exponentials fit into `kept`, stride floats apart.
inline void softmax_rows(const SoftmaxArgs& args, int64_t first, int64_t rows, float* kept,
                         int64_t stride) {
  const float* src = args.src + first * args.src_stride;
  uint8_t* dst = args.dst + first * args.dst_stride;
  float most[kSoftmaxRows];
  float sum[kSoftmaxRows];
  for (int64_t r = 0; r < rows; ++r) most[r] = max_row(src + r * args.src_stride, args.cols);
  for (int64_t r = 0; r < rows; ++r) {
    sum[r] = fold_lanes(exponentials(src + r * args.src_stride, args.cols, most[r],
                                     kept + r * stride, RowLanes(0.0f)),
                        Sum());
  }
  for (int64_t r = 0; r < rows; ++r) {
    quantize_short(ToBytes(args.inv_scale / sum[r], args.zero_point), kept + r * stride,
                   dst + r * args.dst_stride, args.cols);
  }
}

/// A row whose exponentials are computed twice.
inline void softmax_long_row(const SoftmaxArgs& args, int64_t row, float* chunk) {
  const float* src = args.src + row * args.src_stride;
  uint8_t* dst = args.dst + row * args.dst_stride;
  const float most = max_row(src, args.cols);
  const auto for_chunks = [&](const auto& f) {
    for (int64_t i = 0; i < args.cols; i += kNormChunk) {
      f(i, args.cols - i < kNormChunk ? args.cols - i : kNormChunk);
    }
  };
  RowLanes sums(0.0f);
  for_chunks([&](int64_t i, int64_t n) { sums = exponentials(src + i, n, most, chunk, sums); });
  const ToBytes to(args.inv_scale / fold_lanes(sums, Sum()), args.zero_point);
  for_chunks([&](int64_t i, int64_t n) {
    exponentials(src + i, n, most, chunk, RowLanes(0.0f));
    quantize_short(to, chunk, dst + i, n);
  });
}

inline void softmax_body(const SoftmaxArgs& args) {
  alignas(64) float kept[kKeptExponentials];
  if (args.cols > kKeptExponentials) {
    for (int64_t row = 0; row < args.rows; ++row) softmax_long_row(args, row, kept);
    return;
  }
  const int64_t stride = (args.cols + kRowLanes - 1) / kRowLanes * kRowLanes;
  const int64_t fit = kKeptExponentials / stride;
  const int64_t step = fit < kSoftmaxRows ? fit : kSoftmaxRows;
  for (int64_t row = 0; row < args.rows; row += step) {
    softmax_rows(args, row, args.rows - row < step ? args.rows - row : step, kept, stride);
  }
}

/// y = (x * factor) * weight for n elements.
inline void scale_up(const float* x, const float* weight, F32 factor, float* y, int64_t n) {
  for_vectors(n, [&](int64_t i, int64_t count) {
    const F32 scaled = mul(load_some(x + i, count), factor);
    store_some(y + i, mul(scaled, load_some(weight + i, count)), count);
  });
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
    float mean = 0;
    if (args.bias != nullptr)
      mean = sum_row(src, args.cols, 0.0f, [](F32 x) IQ_INLINE { return x; }) / count;
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
      if (args.bias == nullptr) {
        scale_up(src + i, args.weight + i, factor, y, n);
      } else {
        normalize(src + i, args.weight + i, args.bias + i, means, factor, y, n);
      }
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
