/// \file
/// Implements decompose.
#include "passes/normalize/decompose.h"

#include <cmath>
#include <limits>

#include "passes/ir.h"
#include "passes/normalize/rank.h"

namespace ipex_quant::passes {

namespace {

enum class MaskKind { kBool, kFloat, kUnknown };

/// Whether the mask is bool or float, by its constant, its type or the operator that made it.
MaskKind mask_kind(const Value* mask) {
  if (const auto tensor = constant_tensor(mask)) {
    return tensor->scalar_type() == at::kBool ? MaskKind::kBool : MaskKind::kFloat;
  }
  if (const auto type = mask->type()->cast<c10::TensorType>(); type && type->scalarType()) {
    return *type->scalarType() == at::kBool ? MaskKind::kBool : MaskKind::kFloat;
  }
  const Node* node = mask->node();
  if (is_op(node, {"aten::eq", "aten::ne", "aten::lt", "aten::le", "aten::gt", "aten::ge",
                   "aten::logical_not", "aten::logical_and", "aten::logical_or",
                   "aten::logical_xor", "aten::isinf", "aten::isnan"})) {
    return MaskKind::kBool;
  }
  if (is_op(node, {"aten::__and__", "aten::__or__", "aten::__xor__", "aten::bitwise_and",
                   "aten::bitwise_or", "aten::bitwise_xor", "aten::bitwise_not"})) {
    const bool one = node->inputs().size() == 1;
    const MaskKind kind = mask_kind(node->input(0));
    return one || kind == mask_kind(node->input(1)) ? kind : MaskKind::kUnknown;
  }
  if (is_op(node, {"aten::softmax", "aten::linear", "aten::matmul", "aten::div"})) {
    return MaskKind::kFloat;
  }
  // Operators that say the dtype of their result.
  const Value* dtype = argument(node, "dtype");
  if (const auto said = dtype == nullptr ? std::nullopt : constant_int(dtype)) {
    return *said == static_cast<std::int64_t>(at::kBool) ? MaskKind::kBool : MaskKind::kFloat;
  }
  if (is_op(node, {"aten::zeros", "aten::ones"})) {
    return MaskKind::kFloat;
  }
  // Operators that keep the dtype of their input; arithmetic with a bool gives a number.
  if (is_op(node,
            {"aten::view", "aten::reshape", "aten::expand", "aten::unsqueeze", "aten::slice",
             "aten::select", "aten::transpose", "aten::permute", "aten::contiguous", "aten::clone",
             "aten::masked_fill", "aten::tril", "aten::triu", "aten::expand_as", "aten::squeeze",
             "aten::zeros_like", "aten::ones_like", "aten::index"})) {
    return mask_kind(node->input(0));
  }
  const bool is_arithmetic = is_op(node, {"aten::add", "aten::sub", "aten::rsub", "aten::mul"});
  if (is_arithmetic && mask_kind(node->input(0)) == MaskKind::kFloat) {
    return MaskKind::kFloat;
  }
  return MaskKind::kUnknown;
}

/// Builds the expansion of one attention node in front of it.
class Attention {
 public:
  Attention(Graph& graph, Node* node) : graph_(graph), node_(node) {}

  /// Why the node must stay; "" when it can be expanded.
  std::string refuse() const {
    if (constant_number(node_->input(4)) != std::optional<double>(0.0)) {
      return "attention with dropout";
    }
    const Value* grouped = argument(node_, "enable_gqa");
    if (!constant_bool(node_->input(5)) || (grouped != nullptr && !constant_bool(grouped))) {
      return "attention whose is_causal or enable_gqa is not constant";
    }
    return "";
  }

  void expand() {
    query_ = node_->input(0);
    key_ = repeat_heads(node_->input(1));
    Value* value = repeat_heads(node_->input(2));
    Value* transposed = call("aten::transpose", {key_, constant(-2), constant(-1)});
    Value* scores = site_call("aten::matmul", {query_, transposed}, "qk");
    scores = call("aten::mul", {scores, scale()});
    const bool causal = *constant_bool(node_->input(5));
    const bool masked = !is_none(node_->input(3));
    if (causal) {
      scores = fill(scores, causal_mask());
    }
    if (masked) {
      scores = apply_mask(scores, node_->input(3));
    }
    const char* softmax = masked ? "aten::_safe_softmax" : "aten::softmax";
    Value* weights = call(softmax, {scores, constant(-1), constant(c10::IValue())});
    replace_node(node_, site_call("aten::matmul", {weights, value}, "pv"));
  }

 private:
  Value* constant(const c10::IValue& value) { return insert_constant(graph_, value); }

  Value* call(const char* kind, const std::vector<Value*>& inputs) {
    Value* output = insert_call(graph_, kind, inputs);
    output->node()->setSourceRange(node_->sourceRange());
    return output;
  }

  Value* site_call(const char* kind, const std::vector<Value*>& inputs, const char* role) {
    Value* output = call(kind, inputs);
    output->node()->s_(role_attr(), role);
    inherit(output->node(), {node_});
    return output;
  }

  /// enable_gqa: each key and value head serves several query heads.
  Value* repeat_heads(Value* heads) {
    const Value* grouped = argument(node_, "enable_gqa");
    if (grouped == nullptr || !*constant_bool(grouped)) {
      return heads;
    }
    Value* dim = constant(-3);
    Value* times = call("aten::floordiv",
                        {call("aten::size", {query_, dim}), call("aten::size", {heads, dim})});
    return call("aten::repeat_interleave", {heads, times, dim, constant(c10::IValue())});
  }

  Value* scale() {
    const Value* given = argument(node_, "scale");
    if (given != nullptr && !is_none(given)) {
      return const_cast<Value*>(given);
    }
    if (const auto size = last_size_of(query_)) {
      return constant(1.0 / std::sqrt(static_cast<double>(*size)));
    }
    return call("aten::pow", {call("aten::size", {query_, constant(-1)}), constant(-0.5)});
  }

  /// True on and below the diagonal of [query length, key length].
  Value* causal_mask() {
    Value* sizes = graph_
                       .insertNode(graph_.createList(c10::IntType::get(),
                                                     {call("aten::size", {query_, constant(-2)}),
                                                      call("aten::size", {key_, constant(-2)})}))
                       ->output();
    Value* none = constant(c10::IValue());
    Value* bool_type = constant(static_cast<std::int64_t>(at::kBool));
    return call("aten::tril",
                {call("aten::ones", {sizes, bool_type, none, none, none}), constant(0)});
  }

  Value* fill(Value* scores, Value* takes_part) {
    Value* lowest = constant(-std::numeric_limits<double>::infinity());
    return call("aten::masked_fill", {scores, call("aten::logical_not", {takes_part}), lowest});
  }

  Value* add(Value* scores, Value* mask) { return call("aten::add", {scores, mask, constant(1)}); }

  Value* apply_mask(Value* scores, Value* mask) {
    switch (mask_kind(mask)) {
    case MaskKind::kBool:
      return fill(scores, mask);
    case MaskKind::kFloat:
      return add(scores, mask);
    case MaskKind::kUnknown:
      break;
    }
    Value* type = call("prim::dtype", {mask});
    Value* is_bool = call("aten::eq", {type, constant(static_cast<std::int64_t>(at::kBool))});
    Node* branch = graph_.insertNode(graph_.create(c10::prim::If, {is_bool}, 1));
    branch->output()->setType(c10::TensorType::get());
    for (const bool bool_mask : {true, false}) {
      Block* block = branch->addBlock();
      const torch::jit::WithInsertPoint guard(block);
      block->registerOutput(bool_mask ? fill(scores, mask) : add(scores, mask));
    }
    return branch->output();
  }

  Graph& graph_;
  Node* node_;
  Value* query_ = nullptr;
  Value* key_ = nullptr;
};

void expand_baddbmm(Graph& graph, Node* node) {
  Value* product = insert_call(graph, "aten::matmul", {node->input(1), node->input(2)});
  inherit(product->node(), {node});
  const auto scaled = [&graph](Value* value, Value* factor) {
    return constant_number(factor) == std::optional<double>(1.0)
               ? value
               : insert_call(graph, "aten::mul", {value, factor});
  };
  product = scaled(product, node->input(4));
  // beta 0 means that the input is ignored, also where it is NaN
  if (constant_number(node->input(3)) != std::optional<double>(0.0)) {
    Value* input = scaled(node->input(0), node->input(3));
    product = insert_call(graph, "aten::add", {product, input, insert_constant(graph, 1)});
  }
  replace_node(node, product);
}

}  // namespace

bool decompose(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for (Node* node : all_nodes(graph)) {
    const torch::jit::WithInsertPoint guard(node);
    if (is_op(node, {"aten::scaled_dot_product_attention"})) {
      Attention attention(*graph, node);
      const std::string reason = attention.refuse();
      if (reason.empty()) {
        attention.expand();
        changed = true;
      } else {
        set_reason(node, reason);
      }
    } else if (is_op(node, {"aten::baddbmm"}) && node->inputs().size() == 5) {
      expand_baddbmm(*graph, node);
      changed = true;
    }
  }
  if (changed) {
    remove_dead(graph);
  }
  return changed;
}

}  // namespace ipex_quant::passes
