// Portable softmax and layer norm.
#include "kernels/norm/norm_body.h"

namespace ipex_quant::kernels {

void softmax_reference(const SoftmaxArgs& args) { softmax_body(args); }

void layer_norm_reference(const LayerNormArgs& args) { layer_norm_body(args); }

}  // namespace ipex_quant::kernels
