/// \file
/// Joins the two int8 products of attention with the softmax between them.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

// What the report says of a fused attention: node attributes, beside those of ir.h.
c10::Symbol scores_attr();       ///< "iq_scores" string: the steps on the scores before softmax
c10::Symbol score_ids_attr();    ///< "iq_score_ids" ints: original ops of the first product
c10::Symbol softmax_ids_attr();  ///< "iq_softmax_ids" ints: those of softmax
c10::Symbol result_ids_attr();   ///< "iq_result_ids" ints: those of the second product

/// Replaces matmul, softmax and matmul by one operator that keeps the scores in the caches.
///
/// Before:  %s = ipex_quant::matmul(%q, %k, %p0, %masks)    p0: "mul(0.125)|add_f32"
///          %w = ipex_quant::softmax(%s, 0.0039, 0)
///          %y = ipex_quant::matmul(%w, %v, %p1, %others)   p1: "quantize(0.02,128)"
/// After:   %y = ipex_quant::attention(%q, %k, %v, %p, %masks, %others)
/// with both products' arguments in %p. The scale and the mask of the scores are steps of the first
/// product's epilogue by then (post_ops.h). The bits stay the same; %y may have other strides.
/// Stays where the scores or the probabilities are read elsewhere, their shapes included, or where
/// an input is changed in place. Needs kFused. Gives nothing new. Visits nested blocks. Tests:
/// tests/passes/test_fuse_attention.py
bool fuse_attention(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
