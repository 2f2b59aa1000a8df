/// \file
/// Puts quantized weights, folded channel factors and corrected biases in front of an op.
#pragma once

#include "passes/pass.h"
#include "passes/quant/site_params.h"

namespace ipex_quant::passes {

/// Makes the constant weights of a conv, linear, lstm or embedding node int8: quantize_weight and
/// dequantize_weight stand in the graph. Scales come from the site; where it has none, the largest
/// magnitude of each output channel divided by 127. Errors name the site.
void quantize_weights(Graph& graph, Node* node, const SiteParams& site);

/// 1 / factor in the shape that multiplies the input of `node` per channel.
at::Tensor factor_for_input(const Node* node, const at::Tensor& factor);

}  // namespace ipex_quant::passes
