/// \file
/// Writes the quantization of a graph with the operators of torch alone.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Each pair becomes torch's fake quantization, which is the same arithmetic; weights become the
/// float values of their codes, fake-quantized once more, so that a reader finds the codes again.
/// What kernels round at run time, rows of linear layers and all of an lstm or gru, become calls of
/// portable_functions.h.
///
/// Before:  %q = ipex_quant::quantize(%x, %s, %z)
///          %d = ipex_quant::dequantize(%q, %s, %z)
///          %w = ipex_quant::dequantize_weight(%codes, %scales, %axis)
/// After:   %d = aten::fake_quantize_per_tensor_affine(%x, %s, %z, 0, 255)
///          %w = aten::fake_quantize_per_channel_affine(%values, %scales, %zeros, %axis, -128, 127)
///
/// Before:  %y = aten::linear[iq_run_time](%x, %w, %b)    %z, %h = aten::gru(%x, ...)
/// After:   %r = round_rows(%x, 255.)                     %t = gru(%x, ..., rounds_input)
///          %y = aten::linear(%r, %w, %b)                 %z, %h = prim::TupleUnpack(%t)
/// Needs kQuantized. Gives kPortable. Visits nested blocks.
/// Tests: tests/passes/test_write_portable.py, tests/python/test_portable.py,
/// tests/python/test_portable_recurrent.py
bool write_portable(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
