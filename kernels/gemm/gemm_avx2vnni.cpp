// The product for AVX2 with VNNI: 12 accumulators, 2 vectors of weights, 1 of activations.
#include "kernels/gemm/dot_vnni.h"
#include "kernels/gemm/tile_template.h"

namespace ipex_quant::kernels {

void gemm_u8s8s32_6x16c4_avx2vnni(const GemmTile& tile) {
  for (int first = 0; first < tile.width; first += 16) {
    gemm_rows<DotVnni, 6, 2>(tile, first);
  }
}

}  // namespace ipex_quant::kernels
