/// \file
/// Interleaves lines: four bytes above each other become one 32-bit word per channel.
///
/// The result is [unit of 16 channels][column][row group][16 words], so that a row of results
/// of 16 channels walks through memory. Include it from ISA files only.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/depthwise/block.h"
#include "kernels/unroll.h"

namespace ipex_quant::kernels {
namespace {

constexpr int64_t kUnitBytes = 4 * kDepthwiseUnit;  ///< of one column and row group

inline IQ_INLINE __m128i load16(const uint8_t* p, int64_t count) {
  if (count >= 16) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
#if defined(__AVX512F__)
  return _mm_maskz_loadu_epi8(static_cast<__mmask16>(0xffff >> (16 - count)), p);
#else
  uint8_t buffer[16] = {};
  std::memcpy(buffer, p, static_cast<size_t>(count));
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(buffer));
#endif
}

/// `count` channels of four pixels, at most 16.
inline IQ_INLINE void interleave_unit(const uint8_t* const (&p)[4], int64_t count, uint8_t* out) {
  const __m128i a = load16(p[0], count);
  const __m128i b = load16(p[1], count);
  const __m128i c = load16(p[2], count);
  const __m128i d = load16(p[3], count);
  const __m128i low01 = _mm_unpacklo_epi8(a, b);
  const __m128i high01 = _mm_unpackhi_epi8(a, b);
  const __m128i low23 = _mm_unpacklo_epi8(c, d);
  const __m128i high23 = _mm_unpackhi_epi8(c, d);
  auto* to = reinterpret_cast<__m128i*>(out);
  _mm_store_si128(to, _mm_unpacklo_epi16(low01, low23));
  _mm_store_si128(to + 1, _mm_unpackhi_epi16(low01, low23));
  _mm_store_si128(to + 2, _mm_unpacklo_epi16(high01, high23));
  _mm_store_si128(to + 3, _mm_unpackhi_epi16(high01, high23));
}

#if defined(__AVX512F__)

/// The channels of a whole chunk of four pixels.
inline IQ_INLINE void interleave_chunk(const uint8_t* const (&p)[4], uint8_t* out, int64_t step) {
  // Unpacking works within 128 bits: words l, l + 4, l + 8, l + 12 go to lane l beforehand, so that
  // each result holds 16 adjacent channels.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i a = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(p[0]));
  const __m512i b = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(p[1]));
  const __m512i c = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(p[2]));
  const __m512i d = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(p[3]));
  const __m512i low01 = _mm512_unpacklo_epi8(a, b);
  const __m512i high01 = _mm512_unpackhi_epi8(a, b);
  const __m512i low23 = _mm512_unpacklo_epi8(c, d);
  const __m512i high23 = _mm512_unpackhi_epi8(c, d);
  _mm512_store_si512(out, _mm512_unpacklo_epi16(low01, low23));
  _mm512_store_si512(out + step, _mm512_unpackhi_epi16(low01, low23));
  _mm512_store_si512(out + 2 * step, _mm512_unpacklo_epi16(high01, high23));
  _mm512_store_si512(out + 3 * step, _mm512_unpackhi_epi16(high01, high23));
}

#else

inline IQ_INLINE void interleave_chunk(const uint8_t* const (&p)[4], uint8_t* out, int64_t step) {
  unroll<4>([&](auto u) IQ_INLINE {
    const uint8_t* const unit[4] = {p[0] + u * 16, p[1] + u * 16, p[2] + u * 16, p[3] + u * 16};
    interleave_unit(unit, 16, out + u * step);
  });
}

#endif

/// Columns beside the lines, of `channels` channels.
inline void fill_border(const DepthwiseBlock& b, int64_t channels, int64_t first, int64_t count,
                        int64_t step, uint8_t* out) {
  for (int64_t c = 0; c < channels; c += kDepthwiseUnit, out += step) {
    std::memset(out + first * b.row_groups * kUnitBytes, b.zero_point,
                static_cast<size_t>(count * b.row_groups * kUnitBytes));
  }
}

/// Interleaves `count` columns from column `first` on, which may lie beside the lines, of the
/// channels from `channel` of the block on.
/// \param step  bytes from a unit to the next
inline void fill_columns(const DepthwiseBlock& b, int64_t channel, int64_t first, int64_t count,
                         int64_t step, uint8_t* out) {
  const int64_t channels = b.channels - channel;
  const int64_t left = first < 0 ? (-first < count ? -first : count) : 0;
  const int64_t end = b.width - first;
  const int64_t right = end < left ? left : end < count ? end : count;
  if (left > 0) fill_border(b, channels, 0, left, step, out);
  if (right < count) fill_border(b, channels, right, count - right, step, out);
  for (int64_t g = 0; g < b.row_groups; ++g) {
    const int64_t* s = b.line_step + 4 * g;
    const uint8_t* p[4];
    unroll<4>([&](auto i)
                  IQ_INLINE { p[i] = b.lines[4 * g + i] + channel + (first + left) * s[i]; });
    uint8_t* to = out + (left * b.row_groups + g) * kUnitBytes;
    for (int64_t i = left; i < right; ++i, to += b.row_groups * kUnitBytes) {
      if (channels == kDepthwiseChunk) {
        interleave_chunk(p, to, step);
      } else {
        for (int64_t c = 0; c < channels; c += kDepthwiseUnit) {
          const uint8_t* const unit[4] = {p[0] + c, p[1] + c, p[2] + c, p[3] + c};
          interleave_unit(unit, channels - c, to + c / kDepthwiseUnit * step);
        }
      }
      unroll<4>([&](auto j) IQ_INLINE { p[j] += s[j]; });
    }
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
