/// \file
/// Takes over the quantization that a traced graph already has.
#pragma once

#include "passes/ir.h"

namespace ipex_quant::passes {

/// Rewrites the quantization of torch (fake_quantize of a trained model, the reference and the
/// native operators of FX, quantized_decomposed of PT2E) in the vocabulary of the passes: float
/// operators between ipex_quant::quantize/dequantize pairs, weights behind dequantize_weight. Then
/// the fusions bind them as they bind what insert-quant-dequant writes.
///
/// * A qint8 activation with zero point z becomes uint8 with z + 128: the same numbers.
/// * Codes narrower than 8 bits keep their range, by a clamp in front of the quantize.
/// * quantized::* becomes the float operator and a quantize with its output's qparams.
/// * What has no exact rewrite stays, on a torch quantized tensor made from the value, and has the
///   reason on its node.
///
/// Before:  %q = aten::quantize_per_tensor(%x, %s, %z, %quint8)
///          %y = quantized::linear_relu(%q, %packed, %ys, %yz)
///          %f = aten::dequantize(%y)
/// After:   %q = ipex_quant::quantize(%x, %s, %z)         %d = ipex_quant::dequantize(%q, %s, %z)
///          %w = ipex_quant::dequantize_weight(%codes, %scales, %axis)
///          %l = aten::linear(%d, %w, %b)                 %r = aten::relu(%l)
///          %y = ipex_quant::quantize(%r, %ys, %yz)       %f = ipex_quant::dequantize(%y, %ys, %yz)
/// Needs kFunctional. Visits nested blocks.
/// Tests: tests/passes/test_normalize_adopt_quantization.py, tests/python/test_quantized_input.py
bool adopt_quantization(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
