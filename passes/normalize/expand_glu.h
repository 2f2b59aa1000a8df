/// \file
/// Writes gated linear units as their two halves.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Expands aten::glu: the first half times the sigmoid of the second.
///
/// Both ops keep the site of the glu, whose input's range holds for either half; iq_role "input" is
/// the sigmoid, "gated" the product, whose second operand lies in [0, 1] by definition.
///
/// Before:  %y : Tensor = aten::glu[iq_site="a/glu/0"](%x, %dim)
/// After:   %l : Tensor[] = aten::chunk(%x, %two, %dim)
///          %a : Tensor, %b : Tensor = prim::ListUnpack(%l)
///          %s : Tensor = aten::sigmoid[iq_site="a/glu/0", iq_role="input"](%b)
///          %y : Tensor = aten::mul[iq_site="a/glu/0", iq_role="gated"](%a, %s)
/// Needs kFrozen. Gives nothing new. Visits nested blocks.
/// Tests: tests/passes/test_normalize_expand_glu.py
bool expand_glu(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
