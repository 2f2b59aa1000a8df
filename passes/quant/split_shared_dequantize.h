/// \file
/// Gives every consumer of a dequantized value its own dequantize.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Clones each dequantize that has more than one use, one clone per use.
///
/// A shared dequantize cannot move below one of its consumers, so it would hide the int8 path of
/// all.
///
/// Before:  %f = dequantize(%q, %s, %z)   After:  %f0 = dequantize(%q, %s, %z)
///          %a = aten::linear(%f, ...)            %f1 = dequantize(%q, %s, %z)
///          %b = aten::linear(%f, ...)            %a = aten::linear(%f0, ...)
///                                                %b = aten::linear(%f1, ...)
/// Needs kFunctional. Gives kUniqueDequantize. Visits nested blocks.
/// Tests: tests/passes/test_split_shared_dequantize.py
bool split_shared_dequantize(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
