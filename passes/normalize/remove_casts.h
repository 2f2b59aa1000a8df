/// \file
/// Removes casts to the dtype that a tensor has.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Replaces `to` and `type_as` by their input where it is certainly float32 and float32 is asked
/// for. Such a cast returns the tensor itself; libraries write it for models in half precision, and
/// it would keep a product from the int8 kernel in front of it.
///
/// Stays: a cast that copies, changes the memory format or names a device.
///
/// Before:  %p : Tensor = aten::softmax(%s, %m1, %none)       After:  %p = aten::softmax(...)
///          %f : int = prim::Constant[value=6]()                      %y = aten::matmul(%p, %v)
///          %t : Tensor = aten::to(%p, %f, %false, %false, %none)
///          %y : Tensor = aten::matmul(%t, %v)
/// Needs kFrozen. Gives nothing new. Visits nested blocks.
/// Tests: tests/passes/test_normalize_remove_casts.py
bool remove_casts(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
