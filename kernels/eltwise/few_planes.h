/// \file
/// Quantizes images of 3 or 4 planes without leaving the registers, for the including file's ISA.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include <cstring>

#include "kernels/bytes_x4.h"
#include "kernels/eltwise/eltwise.h"

#if defined(__AVX2__)

namespace ipex_quant::kernels {
namespace {

/// kLanes pixels: each 128 bits hold four of them, and 4 bytes of nothing behind 3 channels.
template <int kChannels>
inline IQ_INLINE RegisterOfBytes quantize_pixels(const ToBytes& to, const float* src,
                                                 int64_t plane) {
  I32 t[4];
  unroll<4>([&](auto c) IQ_INLINE {
    if constexpr (c < kChannels) {
      t[c] = to.template round<false>(load(src + c * plane));
    } else {
      t[c] = t[c - 1];
    }
  });
  const __m128i order = kChannels == 3
                            ? _mm_setr_epi8(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, -1, -1, -1, -1)
                            : _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
#if defined(__AVX512F__)
  return _mm512_shuffle_epi8(pack_x4<true>(t, to), _mm512_broadcast_i32x4(order));
#else
  return _mm256_shuffle_epi8(pack_x4<true>(t, to), _mm256_broadcastsi128_si256(order));
#endif
}

/// Stores 4 * kLanes pixels of 3 channels. May write 4 bytes behind them.
inline IQ_INLINE void store_of_3(uint8_t* dst, const RegisterOfBytes (&q)[4]) {
#if defined(__AVX512F__)
  // Three of four 32-bit words count; 16 and up are words of the second register.
  const __m512i first = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18, 20);
  const __m512i second =
      _mm512_setr_epi32(5, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18, 20, 21, 22, 24, 25);
  const __m512i third =
      _mm512_setr_epi32(10, 12, 13, 14, 16, 17, 18, 20, 21, 22, 24, 25, 26, 28, 29, 30);
  _mm512_storeu_si512(dst, _mm512_permutex2var_epi32(q[0], first, q[1]));
  _mm512_storeu_si512(dst + 64, _mm512_permutex2var_epi32(q[1], second, q[2]));
  _mm512_storeu_si512(dst + 128, _mm512_permutex2var_epi32(q[2], third, q[3]));
#else
  // The 4 bytes of nothing lie where the next 4 pixels go.
  unroll<4>([&](auto i) IQ_INLINE {
    __m128i* out = reinterpret_cast<__m128i*>(dst + i * 24);
    _mm_storeu_si128(out, _mm256_castsi256_si128(q[i]));
    out = reinterpret_cast<__m128i*>(dst + i * 24 + 12);
    _mm_storeu_si128(out, _mm256_extracti128_si256(q[i], 1));
  });
#endif
}

/// Quantizes the first pixels, as many whole blocks as there are; gives their number.
template <int kChannels>
inline int64_t quantize_few_planes(const ToBytes& to, const QuantizePlanesArgs& args) {
  constexpr int64_t kPixels = 4 * kLanes;
  constexpr int64_t kBehind = 2;  // pixels that take what store_of_3() may write
  int64_t p = 0;
  for (; p + kPixels + kBehind <= args.pixels; p += kPixels) {
    RegisterOfBytes q[4];
    unroll<4>([&](auto i) IQ_INLINE {
      q[i] = quantize_pixels<kChannels>(to, args.src + p + i * kLanes, args.plane);
    });
    uint8_t* dst = args.dst + p * kChannels;
    if constexpr (kChannels == 3) {
      store_of_3(dst, q);
    } else {
      std::memcpy(dst, q, sizeof q);
    }
  }
  return p;
}

}  // namespace
}  // namespace ipex_quant::kernels

#endif
