/// \file
/// Writes the products of einsum as matmul.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Expands aten::einsum of two values whose equation is a batched matrix product: explicit output,
/// letters that stand once in each operand, one row, one column and one summed letter, the others
/// in both operands and in the result. Operands are transposed to [batch..., row, summed] and
/// [batch..., summed, column] and the result back, as attention is written out by hand. The matmul
/// keeps the site; iq_role "einsum" says that its operands are those of the list.
///
/// Others stay float, and iq_reason says why.
///
/// Before:  %l : Tensor[] = prim::ListConstruct(%q, %k)
///          %y : Tensor = aten::einsum[iq_site="a/einsum/0"]("bqhd,bkhd->bhqk", %l, %none)
/// After:   %1 : Tensor = aten::transpose(%q, %one, %two)
///          %2 : Tensor = aten::transpose(%k, %one, %two)
///          %3 : Tensor = aten::transpose(%2, %minus2, %minus1)
///          %y : Tensor = aten::matmul[iq_site="a/einsum/0", iq_role="einsum"](%1, %3)
/// Needs kFrozen. Gives nothing new. Visits nested blocks.
/// Tests: tests/passes/test_normalize_expand_einsum.py
bool expand_einsum(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
