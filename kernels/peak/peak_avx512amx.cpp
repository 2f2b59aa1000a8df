// Nothing but tdpbusd on tiles.
#include <cstdint>

#include "kernels/peak/peak.h"

namespace ipex_quant::kernels {

int64_t peak_avx512amx(int64_t rounds) {
  constexpr int kChains = 4;
  alignas(64) uint8_t config[64] = {1};
  for (int t = 0; t < 8; ++t) {
    config[16 + 2 * t] = 64;
    config[48 + t] = 16;
  }
  __asm__ volatile("ldtilecfg %0" ::"m"(config));
  for (int64_t r = 0; r < rounds; ++r) {
    __asm__ volatile("tdpbusd %tmm6, %tmm4, %tmm0\n\t"
                     "tdpbusd %tmm7, %tmm4, %tmm1\n\t"
                     "tdpbusd %tmm6, %tmm5, %tmm2\n\t"
                     "tdpbusd %tmm7, %tmm5, %tmm3");
  }
  __asm__ volatile("tilerelease");
  return rounds * kChains * 16 * 16 * 64;
}

}  // namespace ipex_quant::kernels
