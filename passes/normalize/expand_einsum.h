/// \file
/// Writes the products of einsum as matmul and linear.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Expands aten::einsum of equations in which no operand has a letter twice and an
/// ellipsis stands in front:
///  * of a value and a constant that share no letter of the result: a linear layer. The constant
///    becomes its weight [columns, summed], and a constant that is added to the columns its bias;
///  * of two values, a batched matrix product. Operands are transposed to [batch..., row, summed]
///  and
///    [batch..., summed, column] and the result back, as attention is written out by hand; several
///    rows, columns or summed letters are one dimension in between;
///  * of one value whose letters all stand in the result: a permute.
/// How many dimensions operands and result have is noted in their types. Sizes of the result that
/// one operand alone has are read of that one, so that the scores of relative positions, which need
/// the length of the keys, can join the product. The product keeps the site; iq_role says which
/// operands of the list it reads: "einsum" both, "tensors.0" or "tensors.1" the one that is no
/// weight.
///
/// Others stay float, and iq_reason says why.
///
/// Before:  %l : Tensor[] = prim::ListConstruct(%q, %k)
///          %y : Tensor = aten::einsum[iq_site="a/einsum/0"]("bqhd,bkhd->bhqk", %l, %none)
/// After:   %1 : Tensor = aten::transpose(%q, %one, %two)
///          %2 : Tensor = aten::transpose(%k, %one, %two)
///          %3 : Tensor = aten::transpose(%2, %minus2, %minus1)
///          %y : Tensor = aten::matmul[iq_site="a/einsum/0", iq_role="einsum"](%1, %3)
///
/// Before:  %l : Tensor[] = prim::ListConstruct(%h, %w)              with %w a constant [h, n, d]
///          %y : Tensor = aten::einsum[iq_site="a/einsum/0"]("ibh,hnd->ibnd", %l, %none)
/// After:   %1 : Tensor = aten::linear[iq_site="a/einsum/0", iq_role="tensors.0"](%h, %w2, %none)
///          %y : Tensor = aten::unflatten(%1, -1, [n, d])            with %w2 a constant [n * d, h]
/// Needs kFrozen. Gives nothing new. Visits nested blocks.
/// Tests: tests/passes/test_normalize_expand_einsum.py, test_einsum_linear.py
bool expand_einsum(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
