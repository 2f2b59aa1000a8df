/// \file
/// Makes the parts of a constant constants.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Evaluates split, chunk and unbind of a constant tensor. Freezing folds a slice of a weight, but
/// no list: the projections of nn.MultiheadAttention whose query and key differ would read weights
/// that are not constants. Their sizes are multiples of a size of the query, [E, 2 E]; since they
/// sum up to that of the weight, they are known.
///
/// Before:  %l : Tensor[] = aten::split_with_sizes(%w, %sizes, %dim)     with %w constant
///          %q : Tensor, %kv : Tensor = prim::ListUnpack(%l)
/// After:   %q : Tensor = prim::Constant[value=<Tensor>]()
///          %kv : Tensor = prim::Constant[value=<Tensor>]()
/// Needs kFrozen and kFunctional. Gives nothing new. Visits nested blocks.
/// Tests: tests/passes/test_normalize_fold_splits.py
bool fold_splits(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
