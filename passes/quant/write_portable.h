/// \file
/// Writes the quantization of a graph with the operators of torch alone.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Each pair becomes torch's fake quantization, which is the same arithmetic; weights become the
/// float values of their codes, fake-quantized once more, so that a reader finds the codes again.
/// The input of a linear layer that is quantized at run time becomes the arithmetic of its kernel.
///
/// Before:  %q = ipex_quant::quantize(%x, %s, %z)
///          %d = ipex_quant::dequantize(%q, %s, %z)
///          %w = ipex_quant::dequantize_weight(%codes, %scales, %axis)
/// After:   %d = aten::fake_quantize_per_tensor_affine(%x, %s, %z, 0, 255)
///          %w = aten::fake_quantize_per_channel_affine(%values, %scales, %zeros, %axis, -128, 127)
/// Needs kQuantized. Gives kPortable. Visits nested blocks.
/// Tests: tests/passes/test_write_portable.py, tests/python/test_portable.py
bool write_portable(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
