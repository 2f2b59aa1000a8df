/// \file
/// Lets linear layers read their input as it is instead of flattened to rows.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Moves the reshape behind a linear layer in front of it, where it meets the one that made rows.
///
/// A linear works on the last dimension alone, whatever stands before it. Models that flatten to
/// rows and back (transformers' Conv1D, torch's MultiheadAttention) put a reshape between a linear
/// and the residual sum behind it, which hides the sum from the linear's epilogue. Where the sizes
/// are those that the input had, both reshapes go.
///
/// Before:  %r = aten::reshape(%x, [-1, 64])            After:  %y = aten::linear(%x, %w, %b)
///          %l = aten::linear(%r, %w, %b)
///          %y = aten::reshape(%l, [size(%x, 0), size(%x, 1), 96])
/// Otherwise one is left: aten::reshape(%x, [.., 64]), then the linear. Stays: a linear whose rows
/// are read elsewhere, a reshape that splits or joins the last dimension. Needs kFunctional |
/// kCanonical. Gives nothing new. Visits nested blocks.
/// Tests: tests/passes/test_normalize_unflatten_linear.py
bool unflatten_linear(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
