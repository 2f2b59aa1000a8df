// Nothing but tdpbusd on tiles.
#include "kernels/gemm/tile_registers.h"
#include "kernels/peak/peak.h"

namespace ipex_quant::kernels {

int64_t peak_avx512amx(int64_t rounds) {
  constexpr int kChains = 4;
  const TileConfig config;
  configure_tiles(config);
  for (int64_t r = 0; r < rounds; ++r) {
    multiply_tiles<0, 4, 6>();
    multiply_tiles<1, 4, 7>();
    multiply_tiles<2, 5, 6>();
    multiply_tiles<3, 5, 7>();
  }
  release_tiles();
  return rounds * kChains * 16 * 16 * 64;
}

}  // namespace ipex_quant::kernels
