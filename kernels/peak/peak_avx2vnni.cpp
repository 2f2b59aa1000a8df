// Nothing but vpdpbusd on 256-bit registers.
#include <immintrin.h>

#include "kernels/emulate.h"
#include "kernels/peak/peak.h"

namespace ipex_quant::kernels {

int64_t peak_avx2vnni(int64_t rounds) {
  constexpr int kChains = 12;
  __m256i acc[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) acc[i] = _mm256_setzero_si256();
  const __m256i a = _mm256_set1_epi8(3);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) {
      __asm__ volatile(IQ_VPDPBUSD_256 " %1, %1, %0" : "+x"(acc[i]) : "x"(a));
    }
  }
  return rounds * kChains * 32;
}

}  // namespace ipex_quant::kernels
