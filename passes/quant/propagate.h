/// \file
/// Moves quantize and dequantize across ops that only move data, and cancels what meets.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Pulls each quantize up and pushes each dequantize down through data movement, until
///
///   dequantize -> move -> ...             is   move -> dequantize
///   move -> quantize                      is   quantize -> move
///   dequantize -> quantize, equal         is   nothing
///   dequantize -> quantize, different     is   requantize
///   dequantize -> elementwise -> quantize is   lut with a constant table; lut -> lut is one lut
///   aten::max_pool*                       is   ipex_quant::max_pool
///   pad with 0                            is   pad with the zero point
///   cat of equal qparams                  is   cat of the int8 tensors
///
/// Quantizes of one value with equal qparams become one. A quantize moves above an op that keeps
/// only a part (slice, select, chunk) only if the whole is quantized there anyway.
///
/// Before:  %r = aten::reshape(%x, %l)     After:  %q = quantize(%x, %s, %z)
///          %q = quantize(%r, %s, %z)              %m = aten::reshape(%q, %l)
///          %d = dequantize(%q, %s, %z)            %d = dequantize(%m, %s, %z)
/// Needs kUniqueDequantize. Gives kPropagated. Visits nested blocks; nothing crosses their borders.
/// Tests: tests/passes/test_propagate.py
bool propagate(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
