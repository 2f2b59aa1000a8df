// The product for AVX-512 without VNNI: 16 accumulators, 8 vectors of widened weights.
#include "kernels/gemm/dot_widened.h"
#include "kernels/gemm/one_row.h"

namespace ipex_quant::kernels {

void gemm_u8s8s32_4x64c4_avx512(const GemmTile& tile) {
  if (tile.blocks > 1) return gemm_row<DotWidened>(tile);
  switch (tile.width) {
  case 16:
    return gemm_rows<DotWidened, 8, 1>(tile, 0);
  case 32:
    return gemm_rows<DotWidened, 8, 2>(tile, 0);
  case 48:
    return gemm_rows<DotWidened, 4, 3>(tile, 0);
  default:
    return gemm_rows<DotWidened, 4, 4>(tile, 0);
  }
}

}  // namespace ipex_quant::kernels
