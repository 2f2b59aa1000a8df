/// \file
/// The bodies of the pixel kernels, for the ISA of the including file.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/epilogue_apply.h"
#include "kernels/pool/pixel.h"

namespace ipex_quant::kernels {
namespace {

// Channels are done in blocks of a whole register of bytes. The last block is moved back so that it
// is full; with fewer channels than a block there are smaller ones.

#if defined(__AVX512F__)
using Bytes = __m512i;
inline Bytes load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline void store_bytes_wide(uint8_t* p, Bytes x) { _mm512_storeu_si512(p, x); }
inline Bytes max_bytes(Bytes a, Bytes b) { return _mm512_max_epu8(a, b); }
inline Bytes zero_bytes() { return _mm512_setzero_si512(); }
inline Bytes low_words(Bytes x) { return _mm512_unpacklo_epi8(x, _mm512_setzero_si512()); }
inline Bytes high_words(Bytes x) { return _mm512_unpackhi_epi8(x, _mm512_setzero_si512()); }
inline Bytes add_words(Bytes a, Bytes b) { return _mm512_add_epi16(a, b); }
inline I32 low_ints(Bytes x) { return {_mm512_unpacklo_epi16(x, _mm512_setzero_si512())}; }
inline I32 high_ints(Bytes x) { return {_mm512_unpackhi_epi16(x, _mm512_setzero_si512())}; }
inline Bytes pack_ints(I32 a, I32 b, I32 c, I32 d) {
  return _mm512_packus_epi16(_mm512_packs_epi32(a.v, b.v), _mm512_packs_epi32(c.v, d.v));
}
#elif defined(__AVX2__)
using Bytes = __m256i;
inline Bytes load_bytes(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline void store_bytes_wide(uint8_t* p, Bytes x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x);
}
inline Bytes max_bytes(Bytes a, Bytes b) { return _mm256_max_epu8(a, b); }
inline Bytes zero_bytes() { return _mm256_setzero_si256(); }
inline Bytes low_words(Bytes x) { return _mm256_unpacklo_epi8(x, _mm256_setzero_si256()); }
inline Bytes high_words(Bytes x) { return _mm256_unpackhi_epi8(x, _mm256_setzero_si256()); }
inline Bytes add_words(Bytes a, Bytes b) { return _mm256_add_epi16(a, b); }
inline I32 low_ints(Bytes x) { return {_mm256_unpacklo_epi16(x, _mm256_setzero_si256())}; }
inline I32 high_ints(Bytes x) { return {_mm256_unpackhi_epi16(x, _mm256_setzero_si256())}; }
inline Bytes pack_ints(I32 a, I32 b, I32 c, I32 d) {
  return _mm256_packus_epi16(_mm256_packs_epi32(a.v, b.v), _mm256_packs_epi32(c.v, d.v));
}
#endif

/// Calls block(c) for blocks of `width` that cover [0, channels), the last moved back; needs
/// channels >= width.
template <class F>
inline void for_blocks(int64_t channels, int64_t width, const F& block) {
  int64_t c = 0;
  for (; c + width <= channels; c += width) block(c);
  if (c < channels) block(channels - width);
}

/// One pixel; `moved` bytes behind the taps.
inline void max_taps(const MaxPixelArgs& args, int64_t moved, uint8_t* dst) {
#if defined(__AVX2__)
  constexpr int64_t kWide = sizeof(Bytes);
  if (args.channels >= kWide) {
    for_blocks(args.channels, kWide, [&](int64_t c) {
      Bytes most = zero_bytes();
      for (int64_t t = 0; t < args.count; ++t) {
        most = max_bytes(most, load_bytes(args.taps[t] + moved + c));
      }
      store_bytes_wide(dst + c, most);
    });
    return;
  }
  if (args.channels >= 16) {
    for_blocks(args.channels, 16, [&](int64_t c) {
      __m128i most = _mm_setzero_si128();
      for (int64_t t = 0; t < args.count; ++t) {
        const auto* tap = reinterpret_cast<const __m128i*>(args.taps[t] + moved + c);
        most = _mm_max_epu8(most, _mm_loadu_si128(tap));
      }
      _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + c), most);
    });
    return;
  }
#endif
  for (int64_t c = 0; c < args.channels; ++c) {
    uint8_t most = 0;
    for (int64_t t = 0; t < args.count; ++t) {
      const uint8_t q = args.taps[t][moved + c];
      most = q > most ? q : most;
    }
    dst[c] = most;
  }
}

inline void max_pixel_body(const MaxPixelArgs& args) {
  for (int64_t p = 0; p < args.pixels; ++p) {
    max_taps(args, p * args.step, args.dst + p * args.channels);
  }
}

/// Quantization with scale 1 / inv_scale, ready in registers.
struct Quantizer {
  F32 inv_scale;
  I32 zero_point;
  F32 lo;  ///< smallest rounded value before the zero point is added
  F32 hi;

  Quantizer(float inv, int32_t zp)
      : inv_scale(set1(inv)), zero_point(set1i(zp)), lo(set1(static_cast<float>(0 - zp))),
        hi(set1(static_cast<float>(255 - zp))) {}

  /// Lanes in 0..255. A NaN becomes lo: max() returns its second operand then.
  I32 operator()(F32 x) const {
    return add(to_int(min(max(mul(x, inv_scale), lo), hi)), zero_point);
  }
};

/// One pixel.
/// \tparam Tap  gives the address of tap t
template <class Tap>
inline void average_taps(const AveragePixelArgs& args, const Tap& tap, uint8_t* dst) {
  const Quantizer quantizer(args.inv_scale, args.zero_point);
  const I32 offset = set1i(args.offset);
  const F32 factor = set1(args.factor);
  const auto finish = [&](I32 sum) { return quantizer(mul(to_float(sub(sum, offset)), factor)); };
#if defined(__AVX2__)
  constexpr int64_t kWide = sizeof(Bytes);
  if (args.channels >= kWide) {
    for_blocks(args.channels, kWide, [&](int64_t c) {
      I32 s0 = set1i(0), s1 = s0, s2 = s0, s3 = s0;
      for (int64_t t = 0; t < args.count;) {
        // 256 bytes add up to less than 2^16. unpack and pack work within the same 128 bits: the
        // order of the channels comes back.
        const int64_t stop = args.count - t < 256 ? args.count : t + 256;
        Bytes low = zero_bytes(), high = zero_bytes();
        for (; t < stop; ++t) {
          const Bytes q = load_bytes(tap(t) + c);
          low = add_words(low, low_words(q));
          high = add_words(high, high_words(q));
        }
        s0 = add(s0, low_ints(low));
        s1 = add(s1, high_ints(low));
        s2 = add(s2, low_ints(high));
        s3 = add(s3, high_ints(high));
      }
      store_bytes_wide(dst + c, pack_ints(finish(s0), finish(s1), finish(s2), finish(s3)));
    });
    return;
  }
#endif
  const auto average = [&](int64_t c, int64_t n) {
    I32 sum = set1i(0);
    for (int64_t t = 0; t < args.count; ++t) sum = add(sum, load_u8_some(tap(t) + c, n));
    store_u8_some(dst + c, finish(sum), n);
  };
  if (args.channels >= kLanes) {
    for_blocks(args.channels, kLanes, [&](int64_t c) { average(c, kLanes); });
  } else {
    average(0, args.channels);
  }
}

inline void average_pixel_body(const AveragePixelArgs& args) {
  for (int64_t p = 0; p < args.pixels; ++p) {
    const int64_t moved = p * args.step;
    uint8_t* dst = args.dst + p * args.channels;
    if (args.taps != nullptr) {
      average_taps(args, [&](int64_t t) { return args.taps[t] + moved; }, dst);
    } else {
      average_taps(args, [&](int64_t t) { return args.first + moved + t * args.channels; }, dst);
    }
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
