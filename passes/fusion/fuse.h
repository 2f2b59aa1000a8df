/// \file
/// Turns each op between dequantize and quantize into the int8 op that does the same.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Applies the user's fusions on int8 tensors, then fuses each anchor (anchors.cpp) that reads int8
/// with the post-ops behind it (post_ops.cpp), the quantize that ends them and a table behind that.
///
/// Before:  %d = dequantize(%q, %s, %z)       After:  %p = ipex_quant::linear_prepack(%w8, %ws, %b,
///          %w = dequantize_weight(%w8, ...)                   %s, %z, "gelu|quantize(0.1,12)")
///          %y = aten::linear(%d, %w, %b)             %r = ipex_quant::linear(%q, %p, [])
///          %g = aten::gelu(%y)
///          %r = quantize(%g, 0.1, 12)
/// Without a quantize behind it the int8 op gives float. Tensors read by post-ops go into the list.
/// A lut that alone reads %r becomes the step "table(...)". Functions of the user that found no
/// place (outline.h) become their ops again, with the reason on them. Needs kPropagated,
/// `context.fusions` (may be null). Gives kFused. Visits nested blocks. Tests:
/// tests/passes/test_fuse.py
bool fuse(const std::shared_ptr<Graph>& graph, PassContext& context);

}  // namespace ipex_quant::passes
