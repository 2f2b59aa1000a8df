/// \file
/// Gives every product with a constant matrix the form of a linear layer.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Rewrites to aten::linear(input, weight, bias?), weight [out, in] and bias [out] constants:
///  * addmm(bias, x, w) with constants, beta = alpha = 1: the weight is transposed;
///  * matmul(x, w) and mm(x, w) with a constant 2-D w;
///  * linear without bias, then add of a constant vector of length out (alpha = 1): the bias.
/// Weights that are not constant stay: addmm gets a reason, matmul is a product of two activations.
///
/// The site of the replaced node stays (family addmm or matmul); its weight operand is now
/// transposed.
///
/// Before:  %y : Tensor = aten::addmm(%bias, %x, %w, %one, %one)       with %w [in, out]
/// After:   %y : Tensor = aten::linear(%x, %wt, %bias)                 with %wt [out, in]
/// Needs kFrozen. Gives kCanonical together with canonicalize-conv. Visits nested blocks.
/// Tests: tests/passes/test_normalize_canonicalize_linear.py
bool canonicalize_linear(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
