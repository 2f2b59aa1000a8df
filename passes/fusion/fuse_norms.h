/// \file
/// Joins softmax and norms with the quantize behind them.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Replaces softmax over the last dimension, layer_norm and rms_norm, by the operators that also
/// quantize.
///
/// Before:  %y = aten::layer_norm(%x, [384], %w, %b, 1e-5, ...)
///          %q = quantize(%y, 0.02, 128)
///          %r = aten::add(%z, %y, 1)
/// After:   %y, %q = ipex_quant::layer_norm(%x, %w, %b, 1e-5, 0.02, 128)
///          %r = aten::add(%z, %y, 1)
/// Where nothing but the quantize reads %y it becomes layer_norm_quantize, which gives %q alone. A
/// product with a constant per channel in front of the quantize becomes its `factor`. A
/// softmax becomes ipex_quant::softmax, only where nothing else reads its result; so does rms_norm.
/// group_norm and instance_norm take functions of one number (silu) between them and the quantize,
/// too, and become ipex_quant::group_norm with an epilogue.
/// The arithmetic is float32 (docs/numerics.md), that of torch but for rounding.
/// Needs kFused. Gives nothing new. Visits nested blocks.
/// Tests: tests/passes/test_fuse_norms.py
bool fuse_norms(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
