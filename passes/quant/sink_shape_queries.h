/// \file
/// Moves reads of tensor sizes down to where they are needed.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Moves each shape query, and the integer arithmetic on its result, in front of its first user.
///
/// A query between an op and its activation keeps the float result alive, which a fused kernel
/// never makes. Below the activation it can read the size of the fused result instead.
///
/// Before:  %y = aten::conv2d(...)        After:  %y = aten::conv2d(...)
///          %n = aten::size(%y, 0)                %r = aten::relu(%y)
///          %l = ListConstruct(%n, -1)            %n = aten::size(%y, 0)
///          %r = aten::relu(%y)                   %l = ListConstruct(%n, -1)
///          %v = aten::reshape(%r, %l)            %v = aten::reshape(%r, %l)
/// Needs kFunctional. Visits nested blocks.
/// Tests: tests/passes/test_insert_quant_dequant.py
bool sink_shape_queries(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
