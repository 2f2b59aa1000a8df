// Implements recognize_norms.
#include "passes/fusion/recognize_norms.h"

#include <ATen/core/Tensor.h>

#include "passes/fusion/known_float.h"
#include "passes/ir.h"
#include "passes/normalize/rank.h"

namespace ipex_quant::passes {

namespace {

/// A norm found: its input, its constants and the nodes that wrote it out, innermost first.
struct Found {
  Value* x;
  double eps;
  std::vector<Node*> nodes;
  Value* weight = nullptr;
};

/// x^2 of this x
bool is_square(const Value* value, const Value* x) {
  const Node* node = value->node();
  if (is_op(node, {"aten::mul"})) return node->input(0) == x && node->input(1) == x;
  return is_op(node, {"aten::pow"}) && node->input(0) == x &&
         constant_number(node->input(1)) == std::optional<double>(2.0);
}

/// The last dimension alone, kept with size 1.
bool is_mean_of_rows(const Node* node) {
  return is_op(node, {"aten::mean"}) && node->inputs().size() == 4 && is_none(node->input(3)) &&
         constant_ints(node->input(1)) == std::vector<std::int64_t>{-1} &&
         constant_bool(node->input(2)).value_or(false);
}

/// x * rsqrt(mean(x^2, -1) + eps)
std::optional<Found> scaled(Node* product) {
  if (!is_op(product, {"aten::mul"})) return std::nullopt;
  for (const std::size_t i : {0, 1}) {
    Node* rsqrt = product->input(i)->node();
    if (!is_op(rsqrt, {"aten::rsqrt"})) continue;
    Node* sum = rsqrt->input(0)->node();
    if (!is_op(sum, {"aten::add"})) continue;
    const auto eps = constant_number(sum->input(1));
    Node* mean = sum->input(0)->node();
    Value* x = product->input(1 - i);
    if (!eps || constant_number(sum->input(2)) != std::optional<double>(1.0)) continue;
    if (!is_mean_of_rows(mean) || !is_square(mean->input(0), x)) continue;
    return Found{x, *eps, {mean->input(0)->node(), mean, sum, rsqrt, product}};
  }
  return std::nullopt;
}

/// The same, times a float32 constant of the last size.
std::optional<Found> find(Node* node) {
  if (!is_op(node, {"aten::mul"})) return std::nullopt;
  for (const std::size_t i : {0, 1}) {
    const auto weight = constant_tensor(node->input(i));
    if (!weight || weight->dim() != 1 || weight->scalar_type() != at::kFloat) continue;
    auto found = scaled(node->input(1 - i)->node());
    if (!found || !is_known_float(found->x)) continue;
    if (last_size_of(found->x) != weight->numel()) continue;
    found->weight = node->input(i);
    return found;
  }
  return std::nullopt;
}

}  // namespace

bool recognize_norms(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for (Node* node : all_nodes(graph)) {
    auto found = find(node);
    if (!found) continue;
    const torch::jit::WithInsertPoint guard(node);
    const std::vector<std::int64_t> shape = constant_tensor(found->weight)->sizes().vec();
    Value* y = insert_call(*graph, "aten::rms_norm",
                           {found->x, insert_constant(*graph, shape), found->weight,
                            insert_constant(*graph, found->eps)});
    found->nodes.push_back(node);
    inherit(y->node(), found->nodes);
    node->output()->replaceAllUsesWith(y);
    changed = true;
  }
  if (changed) remove_dead(graph);
  return changed;
}

}  // namespace ipex_quant::passes
