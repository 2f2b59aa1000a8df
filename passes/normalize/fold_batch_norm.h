/// \file
/// Folds batch normalisation into the weights of the layer before it.
#pragma once

#include "passes/ir.h"

namespace ipex_quant::passes {

c10::Symbol weight_factor_attr();  ///< "iq_weight_factor" tensor [out]: folded weight = original
                                   ///< weight * factor

/// Folds aten::batch_norm in evaluation form into a conv, conv_transpose or linear that it alone
/// uses.
///
/// With f = gamma / sqrt(var + eps):  w' = w * f per output channel,  b' = (b - mean) * f + beta,
/// computed in double. The node gets f as attribute iq_weight_factor: weight scales that were
/// calibrated on the unfolded weight are scaled by it. Needs constant weights and statistics of the
/// same channel count.
///
/// batch_norm normalises dimension 1, a linear layer makes the last dimension: the two are the same
/// only for 2-D tensors. So linear + batch_norm is folded when the graph proves the rank (flatten,
/// a 2-entry reshape, an addmm, a select or pooling chain before it), or when the output is
/// flattened to rows for the norm, as LeViT does; otherwise it stays with a reason. Others may ask
/// the layer's output for its shape.
///
/// Before:  %c : Tensor = aten::conv2d(%x, %w, %b, ...)
///          %y : Tensor = aten::batch_norm(%c, %gamma, %beta, %mean, %var, %false, ...)
/// After:   %y : Tensor = aten::conv2d[iq_weight_factor=...](%x, %w2, %b2, ...)
/// Needs kCanonical and kFunctional. Gives kBatchNormFolded. Visits nested blocks.
/// Tests: tests/passes/test_normalize_fold_batch_norm.py
bool fold_batch_norm(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
