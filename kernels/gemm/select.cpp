// The kernel table of the product.
#include "kernels/gemm/tile.h"

namespace ipex_quant::kernels {

const GemmEntry& select_gemm(Features features, int64_t rows) {
  // Few rows are bound by reading the weights, and leave most of a tile of rows empty.
  if (rows < kFewRows) features &= ~kAmxInt8;
#define IQ_GEMM(name, needs, mr, nr, kr, row_blocks) {#name, name, needs, mr, nr, kr, row_blocks},
  static constexpr GemmEntry kTable[] = {
#include "kernels/gemm/table.inc"
  };
#undef IQ_GEMM
  const GemmEntry* entry = kTable;
  while (!covers(features, entry->needs)) ++entry;  // the last one needs nothing
  return *entry;
}

}  // namespace ipex_quant::kernels
