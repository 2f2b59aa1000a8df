/// \file
/// Reads back the calls that portable files have for what torch has no operator for.
#pragma once

#include "passes/ir.h"

namespace ipex_quant::passes {

/// Replaces a call of a function of passes/quant/portable_functions.h by the operator that it
/// stands for, whose input the int8 kernel rounds (run_time_attr).
///
/// Before:  %r = round_rows(%x, 255.)                After:  %y = aten::linear(%x, %w, %b)
///          %y = aten::linear(%r, %w, %b)
///          %t = gru(%x, %h, %params, ..., True)             %y, %h = aten::gru(%x, %h, ...)
///                                                           %t = prim::TupleConstruct(%y, %h)
/// Returns the first node of what took the call's place, or behind it; nullptr, and nothing is
/// changed, when the node is no such call, or its rows are read by others, too: the body of the
/// function does the same in float32.
/// Tests: tests/python/test_portable_recurrent.py
Node* read_portable(Node* node);

}  // namespace ipex_quant::passes
