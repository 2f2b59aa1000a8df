// Nothing but vpdpbusd on 512-bit registers.
#include <immintrin.h>

#include "kernels/peak/peak.h"

namespace ipex_quant::kernels {

int64_t peak_avx512vnni(int64_t rounds) {
  constexpr int kChains = 24;
  __m512i acc[kChains];
#pragma GCC unroll 24
  for (int i = 0; i < kChains; ++i) acc[i] = _mm512_setzero_si512();
  const __m512i a = _mm512_set1_epi8(3);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 24
    for (int i = 0; i < kChains; ++i) {
      __asm__ volatile("vpdpbusd %1, %1, %0" : "+v"(acc[i]) : "v"(a));
    }
  }
  return rounds * kChains * 64;
}

}  // namespace ipex_quant::kernels
