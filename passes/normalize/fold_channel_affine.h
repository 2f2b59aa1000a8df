/// \file
/// Folds what rescales the channels of an already quantized layer into its scales and bias.
#pragma once

#include "passes/ir.h"

namespace ipex_quant::passes {

/// A quantization-aware trained convolution with batch norm divides its result by the factor that
/// went into the weight, adds its bias and normalizes again: per channel one multiplication by
/// nearly 1 and one addition. The codes of the weight stay; the scales take the factor (codes
/// change their sign with it), the bias the rest.
///
/// Before:  %w = ipex_quant::dequantize_weight(%codes, %scales, %axis)
///          %y = aten::conv2d(%x, %w, %bias, ...)
///          %d = aten::div(%y, %factor)
///          %n = aten::batch_norm(%d, ...)
/// After:   %w = ipex_quant::dequantize_weight(%codes, %scales2, %axis)
///          %n = aten::conv2d(%x, %w, %bias2, ...)
/// Needs kCanonical | kFunctional. Visits nested blocks.
/// Tests: tests/passes/test_normalize_fold_channel_affine.py
bool fold_channel_affine(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
