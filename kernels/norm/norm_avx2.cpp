// AVX2 softmax and layer norm.
#include "kernels/norm/norm_body.h"

namespace ipex_quant::kernels {

void softmax_avx2(const SoftmaxArgs& args) { softmax_body(args); }

void layer_norm_avx2(const LayerNormArgs& args) { layer_norm_body(args); }

}  // namespace ipex_quant::kernels
