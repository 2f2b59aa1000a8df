/// \file
/// Implements sink_permutes.
#include "passes/normalize/sink_permutes.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <numeric>

#include "passes/ir.h"
#include "passes/normalize/conv_node.h"
#include "passes/normalize/rank.h"

namespace ipex_quant::passes {

namespace {

/// Output dimension i is dimension order[i] of the input.
using Order = std::vector<std::int64_t>;

/// The order that a permute or transpose of known rank brings; nothing for other ops.
std::optional<Order> order_of(const Node* node) {
  if (is_op(node, {"aten::permute"})) {
    auto order = constant_ints(node->input(1));
    if (!order) return std::nullopt;
    for (std::int64_t& dim : *order) {
      if (dim < 0) dim += static_cast<std::int64_t>(order->size());
    }
    return order;
  }
  if (!is_op(node, {"aten::transpose"})) return std::nullopt;
  const auto rank = rank_of(node->input(0));
  auto first = constant_int(node->input(1));
  auto second = constant_int(node->input(2));
  if (!rank || !first || !second) return std::nullopt;
  Order order(static_cast<std::size_t>(*rank));
  std::iota(order.begin(), order.end(), 0);
  const auto at = [rank](std::int64_t dim) {
    return static_cast<std::size_t>(dim < 0 ? dim + *rank : dim);
  };
  std::swap(order.at(at(*first)), order.at(at(*second)));
  return order;
}

Order inverse_of(const Order& order) {
  Order inverse(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    inverse[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
  }
  return inverse;
}

bool is_binary(const Node* node) {
  return is_op(node, {"aten::add", "aten::sub", "aten::mul"}) && node->inputs().size() >= 2;
}

/// A linear's result, or sums and products of it, that one node reads.
bool ends_linear(const Value* value) {
  if (only_user(value) == nullptr) return false;
  const Node* node = value->node();
  if (is_op(node, {"aten::linear"})) return true;
  return is_binary(node) && (ends_linear(node->input(0)) || ends_linear(node->input(1)));
}

/// What a convolution makes or reads has its channels innermost in memory once it is int8. To
/// permute other tensors costs more than the epilogue saves: MLP-Mixer is slower by a twelfth.
bool is_image(const Value* value) {
  const auto& uses = value->uses();
  return is_canonical_conv_op(value->node()) ||
         std::any_of(uses.begin(), uses.end(), [](const torch::jit::Use& use) {
           return is_canonical_conv_op(use.user) && use.offset == 0;
         });
}

class Sinker {
 public:
  explicit Sinker(Graph& graph) : graph_(graph) {}

  bool sink(Node* node) {
    for (const std::size_t side : {0, 1}) {
      Node* permute = node->input(side)->node();
      if (only_user(node->input(side)) != node) continue;
      if (permute->owningBlock() != node->owningBlock()) continue;
      const auto order = order_of(permute);
      if (!order || !ends_linear(permute->input(0))) continue;
      const torch::jit::WithInsertPoint guard(node);
      Value* other = turned(node->input(1 - side), inverse_of(*order));
      if (other == nullptr) continue;
      swap(node, permute, side, other);
      return true;
    }
    return false;
  }

 private:
  void swap(Node* node, Node* permute, std::size_t side, Value* other) {
    Node* sunk = graph_.insertNode(graph_.createClone(node, [](Value* v) { return v; }));
    sunk->replaceInput(side, permute->input(0));
    sunk->replaceInput(1 - side, other);
    sunk->output()->setType(c10::TensorType::get());
    Node* behind = graph_.insertNode(graph_.createClone(permute, [](Value* v) { return v; }));
    behind->replaceInput(0, sunk->output());
    behind->output()->setType(c10::TensorType::get());
    replace_node(node, behind->output());
    permute->destroy();
  }

  /// The value with its dimensions in this order; null where it may have another number of them or
  /// where that would cost time.
  Value* turned(Value* value, const Order& order) {
    if (constant_number(value)) return value;
    const auto rank = static_cast<std::int64_t>(order.size());
    if (const auto tensor = constant_tensor(value)) {
      if (tensor->dim() > rank) return nullptr;
      std::vector<std::int64_t> sizes(static_cast<std::size_t>(rank - tensor->dim()), 1);
      sizes.insert(sizes.end(), tensor->sizes().begin(), tensor->sizes().end());
      return insert_constant(graph_, tensor->reshape(sizes).permute(order).contiguous());
    }
    if (rank_of(value) != std::optional(rank)) return nullptr;
    if (order_of(value->node()) == std::optional(inverse_of(order))) return value->node()->input(0);
    if (!is_image(value)) return nullptr;
    return insert_call(graph_, "aten::permute", {value, insert_constant(graph_, order)});
  }

  Graph& graph_;
};

/// permute -> permute back
bool cancel(Node* node) {
  const auto second = order_of(node);
  if (!second || order_of(node->input(0)->node()) != std::optional(inverse_of(*second)))
    return false;
  replace_node(node, node->input(0)->node()->input(0));
  return true;
}

}  // namespace

bool sink_permutes(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  Sinker sinker(*graph);
  // In program order: a permute behind one op is in front of the next.
  for_each_node(graph->block(),
                [&](Node* node) { changed |= is_binary(node) ? sinker.sink(node) : false; });
  if (!changed) return false;
  for_each_node(graph->block(), [](Node* node) { cancel(node); });
  remove_dead(graph);
  return true;
}

}  // namespace ipex_quant::passes
