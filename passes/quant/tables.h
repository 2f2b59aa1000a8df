/// \file
/// Turns a chain of float ops on one int8 tensor into a table of its 256 results.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "passes/pass.h"

namespace ipex_quant::passes {

/// True when the node computes each element of its result from the same element of its first input,
/// and its other inputs are constants.
bool is_elementwise(const Node* node);

/// quantize(chain(dequantize(code))) for each of the 256 codes: uint8 [256]. `dequantize` and
/// `quantize` are the nodes at the ends, `chain` the elementwise nodes between, in order. The ops
/// themselves compute the table, so the numbers are those of the chain.
at::Tensor table_of(const Node* dequantize, const std::vector<Node*>& chain, const Node* quantize);

}  // namespace ipex_quant::passes
