/// \file
/// Registers of bytes, and how the channels of a pixel are cut into them.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/register_bytes.h"
#include "kernels/simd.h"

namespace ipex_quant::kernels {
namespace {

#if defined(__AVX2__)

/// 16 bytes.
struct Bytes16 {
  using Register = __m128i;
  static Register zero() { return _mm_setzero_si128(); }
  static Register load(const uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
  static void store(uint8_t* p, Register x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x); }
  static Register max(Register a, Register b) { return _mm_max_epu8(a, b); }
};

/// A whole register.
struct BytesWide {
  using Register = RegisterOfBytes;
  static Register load(const uint8_t* p) { return load_bytes(p); }
  static void store(uint8_t* p, Register x) { store_bytes(p, x); }
#if defined(__AVX512F__)
  static Register zero() { return _mm512_setzero_si512(); }
  static Register max(Register a, Register b) { return _mm512_max_epu8(a, b); }
#else
  static Register zero() { return _mm256_setzero_si256(); }
  static Register max(Register a, Register b) { return _mm256_max_epu8(a, b); }
#endif
};

#endif

/// Calls block(c) for blocks of `width` channels from `first` on, the last moved back so that it is
/// full; needs channels >= width.
template <class F>
inline void for_blocks(int64_t first, int64_t channels, int64_t width, const F& block) {
  int64_t c = first;
  for (; c + width <= channels; c += width) block(c);
  if (c < channels) block(channels - width);
}

}  // namespace
}  // namespace ipex_quant::kernels
