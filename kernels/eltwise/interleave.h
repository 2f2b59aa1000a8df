/// \file
/// Turns up to 16 rows of 16 bytes into 16 pixels of channels, for the including file's ISA.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/simd.h"

namespace ipex_quant::kernels {
namespace {

/// Pixels that one call of interleave16() converts, and its largest number of channels.
constexpr int kInterleave = 16;

#if defined(__AVX2__)

/// dst[p * stride + c] = rows[c * row_stride + p] for p, c in 0..15.
inline void interleave16(const uint8_t* rows, int64_t row_stride, uint8_t* dst, int64_t stride) {
  __m128i a[16], b[16];
#pragma GCC unroll 16
  for (int c = 0; c < 16; ++c) {
    a[c] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + c * row_stride));
  }
  // Four rounds of "row i with row i + 8" give the transpose.
#define IQ_ROUND(to, from)                                                                         \
  _Pragma("GCC unroll 8") for (int i = 0; i < 8; ++i) {                                            \
    to[2 * i] = _mm_unpacklo_epi8(from[i], from[i + 8]);                                           \
    to[2 * i + 1] = _mm_unpackhi_epi8(from[i], from[i + 8]);                                       \
  }
  IQ_ROUND(b, a)
  IQ_ROUND(a, b)
  IQ_ROUND(b, a)
  IQ_ROUND(a, b)
#undef IQ_ROUND
#pragma GCC unroll 16
  for (int p = 0; p < 16; ++p) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + p * stride), a[p]);
  }
}

inline __m128i load_row(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

/// dst[p * 2 + c] = rows[c * row_stride + p] for p in 0..15 and 2 channels.
inline void interleave2(const uint8_t* rows, int64_t row_stride, uint8_t* dst) {
  const __m128i a = load_row(rows), b = load_row(rows + row_stride);
  __m128i* out = reinterpret_cast<__m128i*>(dst);
  _mm_storeu_si128(out, _mm_unpacklo_epi8(a, b));
  _mm_storeu_si128(out + 1, _mm_unpackhi_epi8(a, b));
}

/// dst[p * 4 + c] = rows[c * row_stride + p] for p in 0..15 and 4 channels.
inline void interleave4(const uint8_t* rows, int64_t row_stride, uint8_t* dst) {
  const __m128i a = load_row(rows), b = load_row(rows + row_stride);
  const __m128i c = load_row(rows + 2 * row_stride), d = load_row(rows + 3 * row_stride);
  const __m128i low01 = _mm_unpacklo_epi8(a, b), high01 = _mm_unpackhi_epi8(a, b);
  const __m128i low23 = _mm_unpacklo_epi8(c, d), high23 = _mm_unpackhi_epi8(c, d);
  __m128i* out = reinterpret_cast<__m128i*>(dst);
  _mm_storeu_si128(out, _mm_unpacklo_epi16(low01, low23));
  _mm_storeu_si128(out + 1, _mm_unpackhi_epi16(low01, low23));
  _mm_storeu_si128(out + 2, _mm_unpacklo_epi16(high01, high23));
  _mm_storeu_si128(out + 3, _mm_unpackhi_epi16(high01, high23));
}

/// dst[p * 3 + c] = rows[c * row_stride + p] for p in 0..15 and 3 channels.
inline void interleave3(const uint8_t* rows, int64_t row_stride, uint8_t* dst) {
  const __m128i r = load_row(rows), g = load_row(rows + row_stride);
  const __m128i b = load_row(rows + 2 * row_stride);
  // Byte k of the 48 comes from channel k % 3, pixel k / 3; -1 leaves the byte to another channel.
  // clang-format off
  const __m128i r0 = _mm_setr_epi8( 0,-1,-1, 1,-1,-1, 2,-1,-1, 3,-1,-1, 4,-1,-1, 5);
  const __m128i g0 = _mm_setr_epi8(-1, 0,-1,-1, 1,-1,-1, 2,-1,-1, 3,-1,-1, 4,-1,-1);
  const __m128i b0 = _mm_setr_epi8(-1,-1, 0,-1,-1, 1,-1,-1, 2,-1,-1, 3,-1,-1, 4,-1);
  const __m128i r1 = _mm_setr_epi8(-1,-1, 6,-1,-1, 7,-1,-1, 8,-1,-1, 9,-1,-1,10,-1);
  const __m128i g1 = _mm_setr_epi8( 5,-1,-1, 6,-1,-1, 7,-1,-1, 8,-1,-1, 9,-1,-1,10);
  const __m128i b1 = _mm_setr_epi8(-1, 5,-1,-1, 6,-1,-1, 7,-1,-1, 8,-1,-1, 9,-1,-1);
  const __m128i r2 = _mm_setr_epi8(-1,11,-1,-1,12,-1,-1,13,-1,-1,14,-1,-1,15,-1,-1);
  const __m128i g2 = _mm_setr_epi8(-1,-1,11,-1,-1,12,-1,-1,13,-1,-1,14,-1,-1,15,-1);
  const __m128i b2 = _mm_setr_epi8(10,-1,-1,11,-1,-1,12,-1,-1,13,-1,-1,14,-1,-1,15);
  // clang-format on
  const auto mix = [&](__m128i mr, __m128i mg, __m128i mb) {
    return _mm_or_si128(_mm_shuffle_epi8(r, mr),
                        _mm_or_si128(_mm_shuffle_epi8(g, mg), _mm_shuffle_epi8(b, mb)));
  };
  __m128i* out = reinterpret_cast<__m128i*>(dst);
  _mm_storeu_si128(out, mix(r0, g0, b0));
  _mm_storeu_si128(out + 1, mix(r1, g1, b1));
  _mm_storeu_si128(out + 2, mix(r2, g2, b2));
}

#endif

}  // namespace
}  // namespace ipex_quant::kernels
