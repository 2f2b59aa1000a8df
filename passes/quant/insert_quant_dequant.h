/// \file
/// Puts quantize/dequantize pairs where the int8 kernels want their inputs.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Makes a plan (plan.h) from the sites of the context and writes it into the graph.
///
/// Before:  %y = aten::linear(%x, %w, %b)     After:  %q = ipex_quant::quantize(%x, 0.1, 128)
///                                                    %d = ipex_quant::dequantize(%q, 0.1, 128)
///                                                    %v = ipex_quant::quantize_weight(%w, %s, 0)
///                                                    %f = ipex_quant::dequantize_weight(%v, %s, 0)
///                                                    %y = aten::linear(%d, %f, %b)
/// Pairs stand at the op's input; a value that an int8 kernel makes has its pair where it is made,
/// and float readers get the dequantized one. A channel factor f becomes mul(x, 1/f) in front and
/// is multiplied into the weight; a bias correction is added to the bias. Every op of an int8 site
/// that stays float has the reason in its iq_reason, one with a float input is marked iq_run_time.
/// Needs kCanonical | kSites, `context.sites`. Gives kQuantized. Visits nested blocks. Tests:
/// tests/passes/test_insert_quant_dequant.py
bool insert_quant_dequant(const std::shared_ptr<Graph>& graph, PassContext& context);

}  // namespace ipex_quant::passes
