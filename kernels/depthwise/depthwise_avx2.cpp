// The depthwise convolution for avx2: see block_template.h.
#include "kernels/depthwise/block_template.h"
#include "kernels/gemm/dot_widened.h"

namespace ipex_quant::kernels {

void depthwise_u8s8s32_2x16_avx2(const DepthwiseBlock& block) {
  depthwise_block<DotWidened>(block);
}

}  // namespace ipex_quant::kernels
