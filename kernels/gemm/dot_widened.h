/// \file
/// The multiply-add for CPUs without VNNI: widened to int16, because vpmaddubsw would saturate.
#pragma once

#include "kernels/simd.h"

namespace ipex_quant::kernels {
namespace {

struct DotWidened {
  /// Bytes 0 and 2 of each lane, and bytes 1 and 3, as int16.
  struct Pair {
    I32 even, odd;
  };
  using A = Pair;
  using B = Pair;

  static A make_a(I32 bytes) {
    return {bit_and(bytes, set1i(0x00ff00ff)), shift_words_right(bytes)};
  }
  static A load_a(const uint8_t* p) {
    int32_t word;
    __builtin_memcpy(&word, p, 4);
    return make_a(set1i(word));
  }

#if defined(__AVX512F__)
  static I32 shift_words_right(I32 x) { return {_mm512_srli_epi16(x.v, 8)}; }
  static B load_b(const int8_t* p) {
    const __m512i x = _mm512_loadu_si512(p);
    return {{_mm512_srai_epi16(_mm512_slli_epi16(x, 8), 8)}, {_mm512_srai_epi16(x, 8)}};
  }
  static void dot(I32& acc, A a, B b) {
    acc = add(acc, add(I32{_mm512_madd_epi16(a.even.v, b.even.v)},
                       I32{_mm512_madd_epi16(a.odd.v, b.odd.v)}));
  }
#else
  static I32 shift_words_right(I32 x) { return {_mm256_srli_epi16(x.v, 8)}; }
  static B load_b(const int8_t* p) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {{_mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8)}, {_mm256_srai_epi16(x, 8)}};
  }
  static void dot(I32& acc, A a, B b) {
    acc = add(acc, add(I32{_mm256_madd_epi16(a.even.v, b.even.v)},
                       I32{_mm256_madd_epi16(a.odd.v, b.odd.v)}));
  }
#endif
};

}  // namespace
}  // namespace ipex_quant::kernels
