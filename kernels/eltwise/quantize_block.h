/// \file
/// Quantizes blocks of floats; a store is as wide as a register of the including file's ISA.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/simd.h"

namespace ipex_quant::kernels {
namespace {

/// Floats that quantize_block() converts.
constexpr int kQuantizeBlock = 4 * kLanes;

/// Quantization with scale 1 / inv_scale, ready in registers.
struct Quantizer {
  F32 inv_scale;
  I32 zero_point;
  F32 lo;  ///< smallest rounded value before the zero point is added
  F32 hi;

  Quantizer(float inv, int32_t zp)
      : Quantizer(inv, zp, static_cast<float>(0 - zp), static_cast<float>(255 - zp)) {}

  /// With narrower bounds: clamps that stand before the quantization.
  Quantizer(float inv, int32_t zp, float low, float high)
      : inv_scale(set1(inv)), zero_point(set1i(zp)), lo(set1(low)), hi(set1(high)) {}

  /// Lanes in 0..255. A NaN becomes lo: max() returns its second operand then.
  I32 operator()(F32 x) const {
    return add(to_int(min(max(mul(x, inv_scale), lo), hi)), zero_point);
  }
};

/// Stores four vectors of lanes in 0..255 as kQuantizeBlock bytes, in order.
inline void store_u8x4(uint8_t* dst, I32 a, I32 b, I32 c, I32 d) {
#if defined(__AVX512F__)
  // The packs work within 128 bits: the result's 32-bit words come in the order a0 b0 c0 d0 a1 ...
  const __m512i words =
      _mm512_packus_epi16(_mm512_packs_epi32(a.v, b.v), _mm512_packs_epi32(c.v, d.v));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_si512(dst, _mm512_permutexvar_epi32(order, words));
#elif defined(__AVX2__)
  const __m256i words =
      _mm256_packus_epi16(_mm256_packs_epi32(a.v, b.v), _mm256_packs_epi32(c.v, d.v));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst), _mm256_permutevar8x32_epi32(words, order));
#else
  store_u8(dst, a);
  store_u8(dst + 1, b);
  store_u8(dst + 2, c);
  store_u8(dst + 3, d);
#endif
}

/// dst[0..kQuantizeBlock) from src.
inline void quantize_block(const Quantizer& quantizer, const float* src, uint8_t* dst) {
  store_u8x4(dst, quantizer(load(src)), quantizer(load(src + kLanes)),
             quantizer(load(src + 2 * kLanes)), quantizer(load(src + 3 * kLanes)));
}

/// dst[0..n) from src, any n.
inline void quantize_range(const Quantizer& quantizer, const float* src, uint8_t* dst, int64_t n) {
  int64_t i = 0;
  for (; i + kQuantizeBlock <= n; i += kQuantizeBlock) quantize_block(quantizer, src + i, dst + i);
  if (i == n) return;
  float tail[kQuantizeBlock] = {};
  uint8_t bytes[kQuantizeBlock];
  for (int64_t j = i; j < n; ++j) tail[j - i] = src[j];
  quantize_block(quantizer, tail, bytes);
  for (int64_t j = i; j < n; ++j) dst[j] = bytes[j - i];
}

}  // namespace
}  // namespace ipex_quant::kernels
