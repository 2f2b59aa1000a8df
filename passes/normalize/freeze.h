/// \file
/// Turns the attributes of a module into constants of its graph.
#pragma once

#include "passes/ir.h"

namespace ipex_quant::passes {

/// Freezes context.module in place with torch's freezing; keeps context.preserved_attrs and what
/// the graph writes (prim::SetAttr). A graph without a module must have no attribute reads left
/// already; it stays as it is.
///
/// Before:  %w : Tensor = prim::GetAttr[name="weight"](%fc)      After:  %w : Tensor =
/// prim::Constant[value=<Tensor>]()
///          %y : Tensor = aten::linear(%x, %w, %b)                       %y : Tensor =
///          aten::linear(%x, %w, %b)
/// Needs kSites. Gives kFrozen. Visits nested blocks. Uses context.module.
/// Tests: tests/passes/test_normalize_freeze.py
bool freeze(const std::shared_ptr<Graph>& graph, PassContext& context);

}  // namespace ipex_quant::passes
