/// \file
/// Gives every convolution one form.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Rewrites _convolution, _convolution_mode, convolution and the forms with a padding word to the
/// canonical form:
///
///   aten::conv{1,2,3}d(input, weight, bias?, stride, padding, dilation, groups)
///   aten::conv_transpose{1,2,3}d.input(input, weight, bias?, stride, padding, output_padding,
///   groups, dilation)
///
/// stride, padding, dilation and output_padding are prim::Constant int lists with one entry per
/// spatial dimension; groups is a prim::Constant int. Padding "same" that needs more on one side
/// gets the rest by an aten::constant_pad_nd of value 0 before the convolution. A convolution whose
/// lists are not constant, or whose padding word needs a kernel size that is not known, stays as it
/// is with a reason.
///
/// Before:  %s : int[] = prim::ListConstruct(%one, %one)
///          %y : Tensor = aten::_convolution(%x, %w, %b, %s, %p, %d, %false, %o, %groups, ...)
/// After:   %s : int[] = prim::Constant[value=[1, 1]]()
///          %y : Tensor = aten::conv2d(%x, %w, %b, %s, %p, %d, %groups)
/// Needs kFrozen. Gives kCanonical together with canonicalize-linear. Visits nested blocks.
/// Tests: tests/passes/test_normalize_canonicalize_conv.py
bool canonicalize_conv(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
