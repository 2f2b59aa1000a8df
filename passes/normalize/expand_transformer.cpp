/// \file
/// Implements expand_transformer.
#include "passes/normalize/expand_transformer.h"

#include "passes/ir.h"
#include "passes/sites/inline_calls.h"

namespace ipex_quant::passes {

namespace {

/// Inputs of one attention, in the words of nn.MultiheadAttention.
struct AttentionArguments {
  Value* input;
  std::int64_t embed_dim;
  std::int64_t heads;
  Value* qkv_weight;
  Value* qkv_bias;
  Value* out_weight;
  Value* out_bias;
  Value* mask;       ///< None or bool, True is left out
  Value* mask_type;  ///< 0: [L, L], 1: [N, L], 2: [N, heads, L, L]
};

class Expander {
 public:
  Expander(Graph& graph, Node* node) : graph_(graph), node_(node) {
    module_ = node->hasAttribute(module_attr()) ? node->s(module_attr()) : std::string();
  }

  /// False when the node must stay.
  bool expand() {
    return is_op(node_, {"aten::_native_multi_head_attention"}) ? expand_attention()
                                                                : expand_layer();
  }

 private:
  bool expand_attention() {
    const auto embed_dim = constant_int(node_->input(3));
    const auto heads = constant_int(node_->input(4));
    const bool self_attention =
        node_->input(0) == node_->input(1) && node_->input(1) == node_->input(2);
    if (!embed_dim || !heads || !self_attention || node_->output(1)->hasUses() ||
        !mask_is_known(node_->input(9), node_->input(12))) {
      return false;
    }
    path_ = module_;
    Value* output =
        attention({node_->input(0), *embed_dim, *heads, node_->input(5), node_->input(6),
                   node_->input(7), node_->input(8), node_->input(9), node_->input(12)});
    node_->output(0)->replaceAllUsesWith(output);
    node_->destroy();
    return true;
  }

  bool expand_layer() {
    const auto embed_dim = constant_int(node_->input(1));
    const auto heads = constant_int(node_->input(2));
    const auto use_gelu = constant_bool(node_->input(7));
    const auto norm_first = constant_bool(node_->input(8));
    if (!embed_dim || !heads || !use_gelu || !norm_first ||
        !mask_is_known(node_->input(18), node_->input(19))) {
      return false;
    }
    Value* input = node_->input(0);
    Value* x = *norm_first ? norm(input, "norm1", 10, *embed_dim) : input;
    path_ = child("self_attn");
    x = attention({x, *embed_dim, *heads, node_->input(3), node_->input(4), node_->input(5),
                   node_->input(6), node_->input(18), node_->input(19)});
    path_ = module_;
    x = call("aten::add", {input, x, constant(1)});
    if (!*norm_first) {
      x = norm(x, "norm1", 10, *embed_dim);
    }
    Value* residual = x;
    if (*norm_first) {
      x = norm(x, "norm2", 12, *embed_dim);
    }
    path_ = child("linear1");
    x = call("aten::linear", {x, node_->input(14), node_->input(15)});
    path_ = module_;
    x = *use_gelu ? call("aten::gelu", {x, constant("none")}) : call("aten::relu", {x});
    path_ = child("linear2");
    x = call("aten::linear", {x, node_->input(16), node_->input(17)});
    path_ = module_;
    x = call("aten::add", {residual, x, constant(1)});
    if (!*norm_first) {
      x = norm(x, "norm2", 12, *embed_dim);
    }
    replace_node(node_, x);
    return true;
  }

  static bool mask_is_known(const Value* mask, const Value* type) {
    return is_none(mask) || constant_int(type).has_value();
  }

  Value* attention(const AttentionArguments& a) {
    Value* projected = call("aten::linear", {a.input, a.qkv_weight, a.qkv_bias});
    Node* parts = call("aten::chunk", {projected, constant(3), constant(-1)})->node();
    Node* unpacked = graph_.insertNode(graph_.createListUnpack(parts->output(), 3));
    std::vector<Value*> heads;
    for (Value* part : unpacked->outputs()) {
      const std::vector<std::int64_t> shape = {a.heads, a.embed_dim / a.heads};
      Value* split = call("aten::unflatten", {part, constant(-1), constant(shape)});
      heads.push_back(call("aten::transpose", {split, constant(-3), constant(-2)}));
    }
    Value* none = constant(c10::IValue());
    Value* joined = call("aten::scaled_dot_product_attention",
                         {heads[0], heads[1], heads[2], takes_part(a), constant(0.0),
                          constant(false), none, constant(false)});
    joined = call("aten::transpose", {joined, constant(-3), constant(-2)});
    joined = call("aten::flatten", {joined, constant(-2), constant(-1)});
    return call("aten::linear", {joined, a.out_weight, a.out_bias});
  }

  /// The mask in the form of scaled_dot_product_attention: True takes part, broadcast to [N, heads,
  /// L, L].
  Value* takes_part(const AttentionArguments& a) {
    if (is_none(a.mask)) {
      return a.mask;
    }
    Value* mask = call("aten::to", {a.mask, constant(static_cast<std::int64_t>(at::kBool)),
                                    constant(false), constant(false), constant(c10::IValue())});
    mask = call("aten::logical_not", {mask});
    if (*constant_int(a.mask_type) == 1) {
      mask = call("aten::unsqueeze", {call("aten::unsqueeze", {mask, constant(1)}), constant(1)});
    }
    return mask;
  }

  Value* norm(Value* x, const char* name, std::size_t first_weight, std::int64_t embed_dim) {
    path_ = child(name);
    Value* output =
        call("aten::layer_norm",
             {x, constant(std::vector<std::int64_t>{embed_dim}), node_->input(first_weight),
              node_->input(first_weight + 1), node_->input(9), constant(false)});
    path_ = module_;
    return output;
  }

  std::string child(const char* name) const {
    return module_.empty() ? name : module_ + "." + name;
  }

  Value* constant(const c10::IValue& value) { return insert_constant(graph_, value); }

  Value* call(const char* kind, const std::vector<Value*>& inputs) {
    Value* output = insert_call(graph_, kind, inputs);
    output->node()->s_(module_attr(), path_);
    output->node()->setSourceRange(node_->sourceRange());
    return output;
  }

  Graph& graph_;
  Node* node_;
  std::string module_;  ///< path of the fused node
  std::string path_;    ///< path of the nodes being made
};

/// One nested tensor from its mask through encoder layers to padded tensors again.
class Nested {
 public:
  explicit Nested(Node* start) : start_(start) { known_ = follow(start->output()); }

  /// False when something else reads the nested tensor.
  bool is_known() const { return known_; }

  /// Lets all of it work on the padded tensor, with the mask where it is needed.
  void pad(Graph& graph) {
    Value* left_out = nullptr;
    {
      const torch::jit::WithInsertPoint guard(start_);
      left_out = call(graph, "aten::logical_not", {start_->input(1)}, start_);
      Value* type = insert_constant(graph, std::int64_t{1});
      for (Node* layer : layers_) {
        layer->replaceInput(kMask, left_out);
        layer->replaceInput(kMaskType, type);
      }
    }
    for (Node* end : ends_) {
      const torch::jit::WithInsertPoint guard(end);
      Value* last = insert_constant(graph, std::int64_t{-1});
      Value* rows = call(graph, "aten::unsqueeze", {left_out, last}, end);
      replace_node(end,
                   call(graph, "aten::masked_fill", {end->input(0), rows, end->input(1)}, end));
    }
    replace_node(start_, start_->input(0));
  }

 private:
  static constexpr std::size_t kMask = 18;
  static constexpr std::size_t kMaskType = 19;

  bool follow(Value* value) {
    for (const torch::jit::Use& use : value->uses()) {
      Node* user = use.user;
      if (use.offset != 0) return false;
      if (is_op(user, {"aten::_transformer_encoder_layer_fwd"}) && is_none(user->input(kMask))) {
        layers_.push_back(user);
        if (!follow(user->output())) return false;
      } else if (is_op(user, {"aten::to_padded_tensor"}) && !is_none(user->input(2))) {
        ends_.push_back(user);
      } else {
        return false;
      }
    }
    return true;
  }

  static Value* call(Graph& graph, const char* kind, const std::vector<Value*>& inputs,
                     const Node* place) {
    Value* output = insert_call(graph, kind, inputs);
    if (place->hasAttribute(module_attr())) {
      output->node()->s_(module_attr(), place->s(module_attr()));
    }
    output->node()->setSourceRange(place->sourceRange());
    return output;
  }

  Node* start_;
  bool known_ = false;
  std::vector<Node*> layers_;
  std::vector<Node*> ends_;
};

/// Replaces nested tensors; false when one stays.
bool pad_nested(Graph& graph, const std::vector<Node*>& nodes, bool& changed) {
  std::vector<Node*> starts;  // padding destroys other nodes of the list
  for (Node* node : nodes) {
    if (is_op(node, {"aten::_nested_tensor_from_mask_left_aligned"})) return false;
    if (is_op(node, {"aten::_nested_tensor_from_mask"})) starts.push_back(node);
  }
  for (Node* start : starts) {
    Nested nested(start);
    if (!nested.is_known()) return false;
    nested.pad(graph);
    changed = true;
  }
  return true;
}

}  // namespace

bool expand_transformer(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  if (!pad_nested(*graph, all_nodes(graph), changed)) return changed;
  const auto nodes = all_nodes(graph);
  for (Node* node : nodes) {
    if (is_op(node,
              {"aten::_transformer_encoder_layer_fwd", "aten::_native_multi_head_attention"})) {
      const torch::jit::WithInsertPoint guard(node);
      changed = Expander(*graph, node).expand() || changed;
    }
  }
  return changed;
}

}  // namespace ipex_quant::passes
