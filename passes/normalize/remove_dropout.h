/// \file
/// Removes operators that return their input unchanged.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Replaces dropout in evaluation form, detach, alias and lift_fresh by their input.
///
/// Stays: dropout whose `train` is not constant false; contiguous and to (they may copy).
///
/// Before:  %f : bool = prim::Constant[value=0]()         After:  %z : Tensor = aten::relu(%x)
///          %y : Tensor = aten::dropout(%x, %p, %f)
///          %z : Tensor = aten::relu(%y)
/// Needs kFrozen. Gives nothing new. Visits nested blocks.
/// Tests: tests/passes/test_normalize_remove_dropout.py
bool remove_dropout(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
