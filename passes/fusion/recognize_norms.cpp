// Implements recognize_norms.
#include "passes/fusion/recognize_norms.h"

#include <ATen/core/Tensor.h>

#include "passes/fusion/known_float.h"
#include "passes/fusion/recognize.h"
#include "passes/ir.h"
#include "passes/normalize/rank.h"

namespace ipex_quant::passes {

namespace {

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

/// x * rsqrt(mean(x^2, -1) + eps), without what the op needs beside eps.
std::optional<Recognized> scaled(Node* product) {
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
    return Recognized{
        "aten::rms_norm", x, {mean->input(0)->node(), mean, sum, rsqrt, product}, {*eps}};
  }
  return std::nullopt;
}

/// The same, times a float32 constant of the last size.
std::optional<Recognized> find(Node* node) {
  if (!is_op(node, {"aten::mul"})) return std::nullopt;
  for (const std::size_t i : {0, 1}) {
    const auto weight = constant_tensor(node->input(i));
    if (!weight || weight->dim() != 1 || weight->scalar_type() != at::kFloat) continue;
    auto found = scaled(node->input(1 - i)->node());
    if (!found || !is_known_float(found->x)) continue;
    if (last_size_of(found->x) != weight->numel()) continue;
    const std::vector<std::int64_t> shape = {weight->numel()};
    found->more = {shape, *weight, found->more.front()};
    return found;
  }
  return std::nullopt;
}

}  // namespace

bool recognize_norms(const std::shared_ptr<Graph>& graph) { return recognize(graph, find); }

}  // namespace ipex_quant::passes
