// Nothing but vpmaddwd and vpaddd on 256-bit registers: exact int8 products without VNNI.
#include <immintrin.h>

#include "kernels/peak/peak.h"

namespace ipex_quant::kernels {

int64_t peak_avx2(int64_t rounds) {
  constexpr int kChains = 10;
  __m256i acc[kChains];
#pragma GCC unroll 10
  for (int i = 0; i < kChains; ++i) acc[i] = _mm256_setzero_si256();
  const __m256i a = _mm256_set1_epi16(3);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 10
    for (int i = 0; i < kChains; ++i) {
      __m256i product;
      __asm__ volatile("vpmaddwd %2, %2, %1\n\tvpaddd %1, %0, %0"
                       : "+x"(acc[i]), "=&x"(product)
                       : "x"(a));
    }
  }
  return rounds * kChains * 16;
}

}  // namespace ipex_quant::kernels
