/// \file
/// Fits the constants of a graph and the parameters of its sites to each other, before the passes
/// of compile read both.
#pragma once

#include <vector>

#include "passes/pass.h"
#include "passes/quant/site_params.h"

namespace ipex_quant::passes {

/// Multiplies weight scales and bias corrections with what normalization multiplied the weights
/// with: calibration saw the weights before a batch norm was folded into them.
void follow_folded_norms(const std::shared_ptr<Graph>& graph, std::vector<SiteParams>& sites);

/// Folds factors per input channel into the constants of what makes the input, where that can be.
/// Where a norm with weights, a linear layer or a multiplication by a constant makes a value, and
/// all that read it divide it by the same factors, its own constants take the division: no operator
/// is left of it. Elsewhere insert-quant-dequant puts a multiplication in front of the readers.
///
/// Before:  %y = aten::layer_norm(%x, %n, %w, %b, ...)   After:  %y = aten::layer_norm(%x, %n,
/// %w/f,
///          %z = aten::linear(%y, %v, %c)                            %b/f, ...)
///          with the site's channel_factor f                     %z = aten::linear(%y, %v*f, %c)
/// The factors that were folded are taken out of `sites`.
/// Tests: tests/python/test_producers.py
void fold_factors(const std::shared_ptr<Graph>& graph, std::vector<SiteParams>& sites);

}  // namespace ipex_quant::passes
