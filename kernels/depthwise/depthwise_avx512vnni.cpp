// The depthwise convolution for avx512vnni: see block_template.h.
#include "kernels/depthwise/block_template.h"
#include "kernels/gemm/dot_vnni.h"

namespace ipex_quant::kernels {

void depthwise_u8s8s32_4x16_avx512vnni(const DepthwiseBlock& block) {
  depthwise_block<DotVnni>(block);
}

}  // namespace ipex_quant::kernels
