/// \file
/// Makes the fake quantization of a trained model readable for the passes that follow.
#pragma once

#include "passes/ir.h"

namespace ipex_quant::passes {

/// Freezing would fold a fake-quantized weight into floats whose scale is lost, and cannot fold
/// what an observer may still write. Therefore, before it:
///
/// * the operator that observes and fake-quantizes at once becomes one that only fake-quantizes,
///   where its observer is off;
/// * fake quantization of a value that does not depend on the model's inputs becomes a quantize and
///   a dequantize, which freezing turns into a quantized constant and a dequantize;
/// * so does the dequantize of a weight that is stored as codes (quantized_decomposed);
/// * one that is switched off goes.
///
/// Before:  %w : Tensor = prim::GetAttr[name="weight"](%fc)
///          %f = aten::fake_quantize_per_channel_affine(%w, %scale, %zero_point, %axis, %low,
///          %high)
/// After:   %w : Tensor = prim::GetAttr[name="weight"](%fc)
///          %q = aten::quantize_per_channel(%w, %scale, %zero_point, %axis, %qint8)
///          %f = aten::dequantize[iq_range=[low, high]](%q)
/// Needs kSites. Visits nested blocks. Uses context.module to read the switches, if it is set.
/// Tests: tests/passes/test_normalize_settle_fake_quant.py
bool settle_fake_quant(const std::shared_ptr<Graph>& graph, PassContext& context);

}  // namespace ipex_quant::passes
