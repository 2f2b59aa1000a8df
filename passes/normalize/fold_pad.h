/// \file
/// Takes zero padding before a convolution into the convolution.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Folds aten::constant_pad_nd / aten::pad of constant 0 on spatial dimensions into the convolution
/// that alone uses it.
///
/// Only padding that is equal on both sides: aten::conv has no argument for the rest. A pad with
/// unequal sides stays; once it pads uint8 with the zero point, fuse takes it into
/// ipex_quant::conv.
///
/// Before:  %p : Tensor = aten::pad(%x, [1, 1, 1, 1], "constant", 0)
///          %y : Tensor = aten::conv2d(%p, %w, %b, %s, [0, 0], ...)
/// After:   %y : Tensor = aten::conv2d(%x, %w, %b, %s, [1, 1], ...)
/// Needs kCanonical. Gives nothing new. Visits nested blocks.
/// Tests: tests/passes/test_normalize_fold_pad.py
bool fold_pad(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
