// The product for AVX-512 with VNNI: 24 accumulators, 4 vectors of weights, 1 of activations.
#include "kernels/gemm/dot_vnni.h"
#include "kernels/gemm/one_row.h"

namespace ipex_quant::kernels {

void gemm_u8s8s32_6x64c4_avx512vnni(const GemmTile& tile) {
  if (tile.blocks > 1) return gemm_row<DotVnni>(tile);
  switch (tile.width) {
  case 16:
    return gemm_rows<DotVnni, 12, 1>(tile, 0);
  case 32:
    return gemm_rows<DotVnni, 12, 2>(tile, 0);
  case 48:
    return gemm_rows<DotVnni, 8, 3>(tile, 0);
  default:
    return gemm_rows<DotVnni, 6, 4>(tile, 0);
  }
}

}  // namespace ipex_quant::kernels
