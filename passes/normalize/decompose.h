/// \file
/// Writes attention and batched products as plain products.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Expands aten::scaled_dot_product_attention and aten::baddbmm.
///
/// Attention becomes two matmuls that both keep its site: iq_role "qk" multiplies query and key of
/// the site, "pv" the probabilities and the value. The probabilities have the qparams of the site's
/// operand of that name, or scale 1/255 and zero point 0, for they lie in [0, 1]. The scale is a
/// constant factor where the graph proves the head size. A mask that is bool (True takes part) is
/// filled with -inf, a float mask is added; a mask whose dtype a saved trace has lost is asked at
/// run time (prim::If). A row that is masked whole gives zeros, as torch does. Stays, with a
/// reason: dropout other than constant 0, is_causal that is not constant.
///
/// Before:  %y : Tensor = aten::scaled_dot_product_attention[iq_site="a/sdpa/0"](%q, %k, %v, %none,
/// %zero, %false, ...) After:   %t : Tensor = aten::transpose(%k, %m2, %m1)
///          %s : Tensor = aten::matmul[iq_site="a/sdpa/0", iq_role="qk"](%q, %t)
///          %c : Tensor = aten::mul(%s, %scale)
///          %p : Tensor = aten::softmax(%c, %m1, %none)
///          %y : Tensor = aten::matmul[iq_site="a/sdpa/0", iq_role="pv"](%p, %v)
/// Before:  %y : Tensor = aten::baddbmm(%i, %a, %b, %beta, %alpha)
/// After:   %p : Tensor = aten::matmul(%a, %b)
///          %y : Tensor = aten::add(%p, %i, %one)       (factors other than 1 by aten::mul before
///          it)
/// Needs kFrozen. Gives kDecomposed. Visits nested blocks.
/// Tests: tests/passes/test_normalize_decompose.py
bool decompose(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
