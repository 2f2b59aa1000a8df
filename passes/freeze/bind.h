/// \file
/// Turns packing ops with constant inputs into packed constants.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Gives the quantizes in front of convolutions the channels-last layout their kernels read, makes
/// equal packing ops one, and replaces them by the objects they make: however many nodes run one
/// weight with one epilogue, it is packed once.
///
/// Before:  %p = ipex_quant::linear_prepack(%w8, %ws, %b, 0.1, 128, "relu")
///          %y = ipex_quant::linear(%q, %p, [])
/// After:   %p : PackedLinear = prim::Constant[value=object]()
///          %y = ipex_quant::linear(%q, %p, [])
/// Packing ops are pure functions of constants, so this is constant propagation; the float weights
/// go with the ops that read them. Needs kFused. Gives kBound. Visits nested blocks. Tests:
/// tests/passes/test_bind.py
bool bind(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
