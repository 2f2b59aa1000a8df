/// \file
/// Folds sizes that the graph proves.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Replaces every size that follows from the weights by its number, and the arithmetic on it.
///
/// A traced model reads sizes that its author knows, such as that of a head; the scale of an
/// attention that is computed from one is no constant, and so no part of an epilogue.
///
/// Before:  %y = aten::linear(%x, %w, %b)   After:  %y = aten::linear(%x, %w, %b)
///          %n = aten::size(%y, -1)                 %r = aten::mul(%y, 0.125)
///          %s = aten::pow(%n, -0.5)
///          %r = aten::mul(%y, %s)
/// Needs kFunctional. Visits nested blocks.
/// Tests: tests/passes/test_fold_sizes.py
bool fold_sizes(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
