// Implements fold_sizes.
#include "passes/quant/fold_sizes.h"

#include <torch/csrc/jit/passes/constant_propagation.h>

#include <algorithm>
#include <optional>

#include "passes/ir.h"
#include "passes/quant/shapes.h"
#include "passes/quant/sizes.h"

namespace ipex_quant::passes {

namespace {

bool is_number(const Value* value) { return value->type()->isSubtypeOf(*c10::NumberType::get()); }

/// The number that the node always gives, or nothing.
std::optional<c10::IValue> value_of(Node* node, Shapes& shapes) {
  if (node->outputs().size() != 1 || !is_number(node->output())) return std::nullopt;
  if (is_op(node, {"aten::size"})) {
    const auto size = number_of(shapes.int_text(node->output()));
    return size ? std::optional<c10::IValue>(*size) : std::nullopt;
  }
  if (node->kind() == c10::prim::Constant) return std::nullopt;
  const auto inputs = node->inputs();
  if (!std::all_of(inputs.begin(), inputs.end(), is_number)) return std::nullopt;
  const auto results = torch::jit::runNodeIfInputsAreConstant(node);
  return results ? std::optional<c10::IValue>(results->front()) : std::nullopt;
}

}  // namespace

bool fold_sizes(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  Shapes shapes;  // stays true: no node that makes a tensor is changed
  for (Node* node : all_nodes(graph)) {
    const auto number = value_of(node, shapes);
    if (!number) continue;
    const torch::jit::WithInsertPoint guard(node);
    replace_node(node, insert_constant(*graph, *number));
    changed = true;
  }
  return changed;
}

}  // namespace ipex_quant::passes
