// The product for AVX2 without VNNI: 8 accumulators, 4 vectors of widened weights, 2 of
// activations.
#include "kernels/gemm/dot_widened.h"
#include "kernels/gemm/tile_template.h"

namespace ipex_quant::kernels {

void gemm_u8s8s32_4x16c4_avx2(const GemmTile& tile) {
  for (int first = 0; first < tile.width; first += 16) {
    gemm_rows<DotWidened, 4, 2>(tile, first);
  }
}

}  // namespace ipex_quant::kernels
