/// \file
/// Expands the fused operators of torch's transformer fast path into the operators of its slow
/// path.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Expands aten::_transformer_encoder_layer_fwd and aten::_native_multi_head_attention.
///
/// With torch's defaults a trace of nn.TransformerEncoderLayer or nn.MultiheadAttention is one such
/// node, whose weights are its inputs. The new nodes get the module paths that the slow path has
/// (P.self_attn, P.linear1, P.linear2, P), so the sites are those of a model traced with the fast
/// path off. Stays: attention whose attention weights are used or whose query, key and value
/// differ; sizes or flags that are not constant. A nested tensor, which the encoder makes of a
/// padding mask, becomes the padded tensor that it came from, with that mask in each layer and
/// zeros behind the last; one that anything else reads stays with its layers.
///
/// Before:  %y : Tensor = aten::_transformer_encoder_layer_fwd[iq_module="e"](%x, ...)
/// After:   %q : Tensor = aten::linear[iq_module="e.self_attn"](%x, %qkv_weight, %qkv_bias)
///          ... aten::scaled_dot_product_attention, aten::linear, aten::add, aten::layer_norm,
///          aten::linear, ...
/// Needs kInlined. Gives nothing new. Visits nested blocks.
/// Tests: tests/passes/test_normalize_expand_transformer.py
bool expand_transformer(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
