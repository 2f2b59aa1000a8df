/// \file
/// Finds root mean square norms that are written out in simpler ops.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Replaces weight * (x * rsqrt(mean(x^2, -1) + eps)), as T5 and LLaMA have it, by rms_norm.
///
/// Before:  %p = aten::pow(%x, 2)              After:  %y = aten::rms_norm(%x, [512], %w, 1e-6)
///          %m = aten::mean(%p, [-1], True, None)
///          %a = aten::add(%m, 1e-6, 1)
///          %r = aten::rsqrt(%a)
///          %n = aten::mul(%x, %r)
///          %y = aten::mul(%w, %n)
/// where %w is a constant of 512 float32.
/// Stays where the last size of x, or that x is float32, is not known.
/// Needs kFunctional. Gives nothing new. Visits nested blocks.
/// Tests: tests/passes/test_recognize_norms.py
bool recognize_norms(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
