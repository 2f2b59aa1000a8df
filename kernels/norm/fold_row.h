/// \file
/// Folds a row of floats into one number in an order that is the same on every ISA.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/norm/norm.h"
#include "kernels/simd.h"
#include "kernels/unroll.h"

namespace ipex_quant::kernels {
namespace {

constexpr int kRowVectors = kRowLanes / kLanes;

/// kRowLanes values in registers.
struct RowLanes {
  F32 v[kRowVectors];

  explicit IQ_INLINE RowLanes(float value) {
    unroll<kRowVectors>([&](auto i) IQ_INLINE { v[i] = set1(value); });
  }
};

/// kLanes floats from p, of which `count` are there (any number); `pad` behind them.
inline IQ_INLINE F32 load_padded(const float* p, int64_t count, F32 pad) {
#if defined(__AVX512F__)
  const uint32_t mask = count >= kLanes ? 0xffffu : count <= 0 ? 0u : (1u << count) - 1;
  return {_mm512_mask_loadu_ps(pad.v, static_cast<__mmask16>(mask), p)};
#elif defined(__AVX2__)
  const int32_t there = count >= kLanes ? kLanes : count <= 0 ? 0 : static_cast<int32_t>(count);
  const __m256i mask =
      _mm256_cmpgt_epi32(_mm256_set1_epi32(there), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  return {_mm256_blendv_ps(pad.v, _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask))};
#else
  return count > 0 ? load(p) : pad;
#endif
}

/// Calls f(offset, lanes) for each kRowLanes elements, with `pad` behind the last.
template <class F>
inline IQ_INLINE void for_row_blocks(const float* row, int64_t n, float pad, const F& f) {
  RowLanes x(pad);
  int64_t i = 0;
  for (; i + kRowLanes <= n; i += kRowLanes) {
    unroll<kRowVectors>([&](auto v) IQ_INLINE { x.v[v] = load(row + i + v * kLanes); });
    f(i, x);
  }
  if (i == n) return;
  unroll<kRowVectors>([&](auto v) IQ_INLINE {
    // The address of lanes that are not there is not formed.
    const int64_t left = n - i - v * kLanes;
    x.v[v] = load_padded(left > 0 ? row + i + v * kLanes : row, left, set1(pad));
  });
  f(i, x);
}

struct Sum {
  IQ_INLINE F32 operator()(F32 a, F32 b) const { return add(a, b); }
#if defined(__AVX2__)
  IQ_INLINE __m256 operator()(__m256 a, __m256 b) const { return _mm256_add_ps(a, b); }
  IQ_INLINE __m128 operator()(__m128 a, __m128 b) const { return _mm_add_ps(a, b); }
#endif
};

struct Maximum {
  IQ_INLINE F32 operator()(F32 a, F32 b) const { return max(a, b); }
#if defined(__AVX2__)
  IQ_INLINE __m256 operator()(__m256 a, __m256 b) const { return _mm256_max_ps(a, b); }
  IQ_INLINE __m128 operator()(__m128 a, __m128 b) const { return _mm_max_ps(a, b); }
#endif
};

/// The lanes folded in halves: 16 pairs i and i + 16, then 8 pairs i and i + 8, down to one.
template <class Op>
inline IQ_INLINE float fold_lanes(RowLanes x, const Op& op) {
#if defined(__AVX2__)
#if defined(__AVX512F__)
  const F32 both = op(x.v[0], x.v[1]);
  const __m256 eight = op(_mm512_castps512_ps256(both.v), _mm512_extractf32x8_ps(both.v, 1));
#else
  const __m256 eight = op(op(x.v[0], x.v[2]), op(x.v[1], x.v[3])).v;
#endif
  const __m128 four = op(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = op(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(op(two, _mm_movehdup_ps(two)));
#else
  for (int half = kRowLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) x.v[i] = op(x.v[i], x.v[i + half]);
  }
  return x.v[0].v;
#endif
}

/// sum of term(x) over a row; term(pad) must be 0.
template <class Term>
inline IQ_INLINE float sum_row(const float* row, int64_t n, float pad, const Term& term) {
  RowLanes sums(0.0f);
  for_row_blocks(row, n, pad, [&](int64_t, const RowLanes& x) IQ_INLINE {
    unroll<kRowVectors>([&](auto v) IQ_INLINE { sums.v[v] = add(sums.v[v], term(x.v[v])); });
  });
  return fold_lanes(sums, Sum());
}

constexpr float kLowest = -__builtin_huge_valf();

/// The largest element; a row with a NaN may give any of its elements.
inline IQ_INLINE float max_row(const float* row, int64_t n) {
  RowLanes most(kLowest);
  for_row_blocks(row, n, kLowest, [&](int64_t, const RowLanes& x) IQ_INLINE {
    unroll<kRowVectors>([&](auto v) IQ_INLINE { most.v[v] = max(most.v[v], x.v[v]); });
  });
  return fold_lanes(most, Maximum());
}

}  // namespace
}  // namespace ipex_quant::kernels
