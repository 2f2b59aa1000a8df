/// \file
/// Runs what stayed float in bfloat16.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Convolutions, linear layers, matrix products, LSTMs and GRUs that stayed float read bfloat16 and
/// accumulate as torch does; their results become float32 again, or go straight to the next of
/// them. Constants are converted once. A node with an operand that is not known to be float32
/// stays.
///
/// Before:  %y = aten::linear(%x, %w, %b)         After:  %h = aten::to(%x, %bfloat16)
///                                                        %l = aten::linear(%h, %w16, %b16)
///                                                        %y = aten::to(%l, %float)
/// Needs kBound. Visits nested blocks.
/// Tests: tests/passes/test_use_bfloat16.py, tests/python/test_bfloat16.py
bool use_bfloat16(const std::shared_ptr<Graph>& graph);

/// "iq_bfloat16" int: the node runs in bfloat16.
c10::Symbol bfloat16_attr();

}  // namespace ipex_quant::passes
