/// \file
/// Finds activation functions that are written out in simpler ops.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Replaces x * sigmoid(x) by silu, x * hardsigmoid(x) and x * relu6(x + 3) / 6 by hardswish,
/// x * tanh(softplus(x)) by mish, x/2 * (1 + erf(x / sqrt 2)) by gelu, and its approximation
/// x/2 * (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) by that form of gelu. A prelu with one slope is
/// a leaky_relu.
///
/// Written out, they read x twice, so that x would have to be stored between a kernel and its
/// epilogue.
///
/// Before:  %s = aten::sigmoid(%x)         After:  %y = aten::silu(%x)
///          %y = aten::mul(%x, %s)
/// The site of the new op is that of the inner function, whose input is x.
/// Needs kFunctional. Gives nothing new. Visits nested blocks.
/// Tests: tests/passes/test_recognize_activations.py
bool recognize_activations(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
