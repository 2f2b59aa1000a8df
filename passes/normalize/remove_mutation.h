/// \file
/// Replaces in-place operators by their functional forms.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Turns aten::op_(x, ...) into aten::op(x, ...) and lets all later uses of x read the result.
///
/// Done when nothing else can see the write: x is no graph input, attribute or constant, and no
/// other value that shares memory with x is used after the write. Operators that change the shape
/// of their input, draw random numbers or are themselves copies (copy_) stay. An operator that
/// cannot be replaced stays and is logged.
///
/// Before:  %c : Tensor = aten::conv2d(%x, ...)            After:  %c : Tensor = aten::conv2d(%x,
/// ...)
///          %r : Tensor = aten::relu_(%c)                          %r : Tensor = aten::relu(%c)
///          return (%c)                                            return (%r)
/// Needs kFrozen. Gives kFunctional. Visits nested blocks.
/// Tests: tests/passes/test_normalize_remove_mutation.py
bool remove_mutation(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
