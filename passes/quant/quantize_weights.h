/// \file
/// Puts quantized weights, folded channel factors and corrected biases in front of an op.
#pragma once

#include "passes/pass.h"
#include "passes/quant/site_params.h"

namespace ipex_quant::passes {

/// Makes the constant weights of a conv, linear, lstm, gru or embedding node int8: quantize_weight
/// and dequantize_weight stand in the graph. Scales come from the site; where it has none, the
/// largest magnitude of each output channel divided by 127. An lstm or gru with few inputs,
/// quantized at run time, reads [x, x / 128] with the weight [Wq, 128 (W - Wq)]. Errors name the
/// site.
void quantize_weights(Graph& graph, Node* node, const SiteParams& site);

/// Writes a batch_norm whose input is read in int8 as a depthwise convolution of one tap. Its
/// weight per channel, 127 or -127 times a scale, is exact but for rounding of the float32 scale.
void quantize_batch_norm(Graph& graph, Node* node);

/// Whether an lstm or gru whose input is quantized at run time gets its first weights as two int8
/// parts: where the kernel then still gives a row of its input 16 bits, for 8 bits of weight would
/// waste them.
bool splits_input_weight(std::int64_t input_size, std::int64_t units);

/// W -> [Wq, 128 (W - Wq)], which the same scales quantize: 15 bits for a weight that meets
/// [x, kSmallCopy * x]. weight [n, k], scales of its n rows or one for all.
at::Tensor split_input_weight(const at::Tensor& weight, const at::Tensor& scales);
/// What rounding leaves of a weight is at most half a step, 64 steps after this factor's inverse.
inline constexpr double kSmallCopy = 1.0 / 128;

/// 1 / factor in the shape that multiplies the input of `node` per channel.
at::Tensor factor_for_input(const Node* node, const at::Tensor& factor);

}  // namespace ipex_quant::passes
