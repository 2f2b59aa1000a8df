// The depthwise convolution for avx512: see block_template.h.
#include "kernels/depthwise/block_template.h"
#include "kernels/gemm/dot_widened.h"

namespace ipex_quant::kernels {

void depthwise_u8s8s32_4x16_avx512(const DepthwiseBlock& block) {
  depthwise_block<DotWidened>(block);
}

}  // namespace ipex_quant::kernels
