/// \file
/// Removes casts to the dtype that their input has anyway.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Replaces aten::to and aten::type_as by their input where the graph proves that it is float32 and
/// stays so: models written for half precision are full of such casts (around softmax and norms),
/// which would part an op from the int8 op behind it.
///
/// Stays: a cast whose input is not known to be float32 (a graph input may be anything), a copy, a
/// memory format, another device than the CPU.
///
/// Before:  %p : Tensor = aten::softmax(%s, %dim, %none)   After:  %p : Tensor = aten::softmax(...)
///          %c : Tensor = aten::to(%p, %float, ...)                %y : Tensor = aten::matmul(%p,
///          %y : Tensor = aten::matmul(%c, %v)                     %v)
/// Needs kCanonical. Gives nothing new. Visits nested blocks.
/// Tests: tests/passes/test_normalize_remove_casts.py
bool remove_casts(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
