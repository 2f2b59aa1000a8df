/// \file
/// Replaces view by reshape.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Turns aten::view(x, sizes) and aten::_unsafe_view into aten::reshape(x, sizes).
///
/// view demands certain strides of its input. An int8 operator may give other strides than the
/// float one it replaces (a convolution gives channels-last), so view would fail where reshape
/// copies. The view that changes the dtype stays.
///
/// Before:  %y : Tensor = aten::view(%x, %sizes)       After:  %y : Tensor = aten::reshape(%x,
/// %sizes) Needs kFunctional. Gives nothing new. Visits nested blocks. Tests:
/// tests/passes/test_normalize_view_to_reshape.py
bool view_to_reshape(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
