/// \file
/// Makes one product of several linears that read one tensor.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Merges int8 linears of one input whose results are quantized: query, key and value.
///
/// Before:  %p = linear_prepack(%w1, %ws1, %b1, %s, %z, "quantize(0.1,120)")
///          %q = ipex_quant::linear(%x, %p, [])
///          %r = linear_prepack(%w2, %ws2, %b2, %s, %z, "quantize(0.2,99)")
///          %k = ipex_quant::linear(%x, %r, [])
/// After:   %p = linear_prepack(%w, %ws, %b, %s, %z, "quantize(0.1,120)")
///          %y = ipex_quant::linear(%x, %p, [])
///          %q, %k = aten::split_with_sizes(%y, [n1, n2], -1)
/// The rows of %w are those of both. The second's scales and bias are such that its result comes
/// out in the first's quantization: y * (0.1 / 0.2) + (99 - 120) * 0.1 is stored as the same code.
/// That rounds differently in float32, so that a code may differ by one. The input is read once,
/// and few rows fill the kernel's threads; measured 1.5 times as fast for 16 rows of 384, equal
/// from 512 rows. Needs kFused. Gives nothing new. Visits nested blocks. Tests:
/// tests/passes/test_merge_linears.py
bool merge_linears(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
