/// \file
/// Moves permutes of a linear's result behind the sums and products that follow it.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Swaps a permute (or transpose) of a linear's result with the add, sub or mul that alone reads
/// it: the other operand is permuted the other way instead. The values are the same ones.
///
/// ConvNeXt's pointwise layers work on [N, H, W, C] and the images around them are [N, C, H, W], so
/// a permute stands between the last linear of a block and the layer scale and residual sum that
/// belong into its epilogue. The permute of the residual costs nothing where its channels lie
/// innermost, and those of block after block cancel.
///
/// Before:  %l = aten::linear(%h, %w, %b)                     with %x [N, C, H, W]
///          %p = aten::permute(%l, [0, 3, 1, 2])
///          %y = aten::add(%x, %p, 1)
/// After:   %l = aten::linear(%h, %w, %b)
///          %q = aten::permute(%x, [0, 2, 3, 1])
///          %s = aten::add(%q, %l, 1)
///          %y = aten::permute(%s, [0, 3, 1, 2])
/// A constant is permuted itself. Two permutes that undo each other go. Stays: a permute that
/// something else reads too, an other operand that is not known to have as many dimensions or that
/// no convolution makes or reads. Needs kFunctional | kCanonical. Gives nothing new. Visits nested
/// blocks.
/// Tests: tests/passes/test_normalize_sink_permutes.py
bool sink_permutes(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
