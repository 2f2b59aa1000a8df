/// \file
/// Takes torch's quantized operators apart: the float operator, then a quantize.
#pragma once

#include "passes/normalize/quantized_values.h"

namespace ipex_quant::passes {

/// Rewrites one node, quantized::* or an aten operator on quantized tensors, as float operators on
/// what its tensors stand for and a pair behind them. The node is destroyed, or made float where it
/// stands. False, and nothing changed, when there is no rewrite of exactly this meaning.
bool expand_quantized(const std::shared_ptr<Graph>& graph, Node* node, QuantizedValues& values);

}  // namespace ipex_quant::passes
