/// \file
/// Turns 16 rows of 16 bytes into 16 pixels of 16 channels, for the including file's ISA.
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

#endif

}  // namespace
}  // namespace ipex_quant::kernels
