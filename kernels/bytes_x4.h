/// \file
/// A register of bytes as four vectors of floats, and back.
///
/// "Interleaved" is the order in which unpacking and packing work: within each 128 bits, vector j
/// holds the bytes 4 j .. 4 j + 3. One brings back what the other did, without a shuffle across the
/// register. Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/register_bytes.h"
#include "kernels/to_bytes.h"

namespace ipex_quant::kernels {
namespace {

/// Bytes of a register.
constexpr int kBytesX4 = 4 * kLanes;

/// What dequantizes one tensor.
struct FromBytes {
  F32 zero;  ///< 2^23 + zero point
  F32 scale;

  FromBytes(float s, int32_t zero_point)
      : zero(set1(8388608.0f + static_cast<float>(zero_point))), scale(set1(s)) {}

  /// (q - zero point) * scale of kBytesX4 bytes, interleaved. A byte under the exponent of 2^23 is
  /// the float 2^23 + q, so the difference is exact: the bits of a conversion of q - zero point.
  IQ_INLINE void operator()(const uint8_t* p, F32 (&y)[4]) const {
#if defined(__AVX512F__)
    const __m512i q = load_bytes(p);
    const __m512i low = _mm512_unpacklo_epi8(q, _mm512_setzero_si512());
    const __m512i high = _mm512_unpackhi_epi8(q, _mm512_setzero_si512());
    const __m512i exponent = _mm512_set1_epi16(0x4b00);
    const I32 words[4] = {{_mm512_unpacklo_epi16(low, exponent)},
                          {_mm512_unpackhi_epi16(low, exponent)},
                          {_mm512_unpacklo_epi16(high, exponent)},
                          {_mm512_unpackhi_epi16(high, exponent)}};
#elif defined(__AVX2__)
    const __m256i q = load_bytes(p);
    const __m256i low = _mm256_unpacklo_epi8(q, _mm256_setzero_si256());
    const __m256i high = _mm256_unpackhi_epi8(q, _mm256_setzero_si256());
    const __m256i exponent = _mm256_set1_epi16(0x4b00);
    const I32 words[4] = {{_mm256_unpacklo_epi16(low, exponent)},
                          {_mm256_unpackhi_epi16(low, exponent)},
                          {_mm256_unpacklo_epi16(high, exponent)},
                          {_mm256_unpackhi_epi16(high, exponent)}};
#else
    const I32 words[4] = {
        {0x4b000000 | p[0]}, {0x4b000000 | p[1]}, {0x4b000000 | p[2]}, {0x4b000000 | p[3]}};
#endif
    unroll<4>([&](auto j) IQ_INLINE { y[j] = mul(sub(as_float(words[j]), zero), scale); });
  }
};

#if defined(__AVX2__)
/// Four vectors of rounded values (ToBytes::round()) as bytes.
/// \tparam Interleaved  the order of the vectors; else they follow each other
template <bool Interleaved>
inline IQ_INLINE RegisterOfBytes pack_x4(const I32 (&t)[4], const ToBytes& to) {
#if defined(__AVX512F__)
  const __m512i z = _mm512_set1_epi16(static_cast<int16_t>(to.zero_point));
  const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(t[0].v, t[1].v), z);
  const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(t[2].v, t[3].v), z);
  __m512i bytes = _mm512_packus_epi16(low, high);
  if constexpr (!Interleaved) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    bytes = _mm512_permutexvar_epi32(order, bytes);
  }
  bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(static_cast<char>(to.low)));
  return _mm512_min_epu8(bytes, _mm512_set1_epi8(static_cast<char>(to.high)));
#else
  const __m256i z = _mm256_set1_epi16(static_cast<int16_t>(to.zero_point));
  const __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(t[0].v, t[1].v), z);
  const __m256i high = _mm256_adds_epi16(_mm256_packs_epi32(t[2].v, t[3].v), z);
  __m256i bytes = _mm256_packus_epi16(low, high);
  if constexpr (!Interleaved) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    bytes = _mm256_permutevar8x32_epi32(bytes, order);
  }
  bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(static_cast<char>(to.low)));
  return _mm256_min_epu8(bytes, _mm256_set1_epi8(static_cast<char>(to.high)));
#endif
}
#endif

/// Stores four vectors of rounded values as bytes, see pack_x4().
template <bool Interleaved>
inline IQ_INLINE void store_x4(uint8_t* dst, const I32 (&t)[4], const ToBytes& to) {
#if defined(__AVX2__)
  store_bytes(dst, pack_x4<Interleaved>(t, to));
#else
  for (int i = 0; i < 4; ++i) {
    const int64_t q = int64_t{t[i].v} + to.zero_point;
    dst[i] = static_cast<uint8_t>(q < to.low ? to.low : q > to.high ? to.high : q);
  }
#endif
}

}  // namespace
}  // namespace ipex_quant::kernels
