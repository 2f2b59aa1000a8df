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

/// A number, or a known one in a tensor: a trace computes with sizes in tensors.
bool holds_number(const Value* value) {
  return is_number(value) || constant_number(value).has_value();
}

/// The number that the node always gives, perhaps in a tensor, or nothing.
std::optional<c10::IValue> value_of(Node* node, Shapes& shapes) {
  if (node->outputs().size() != 1) return std::nullopt;
  if (is_op(node, {"aten::size"})) {
    const auto size = number_of(shapes.int_text(node->output()));
    return size ? std::optional<c10::IValue>(*size) : std::nullopt;
  }
  if (node->kind() == c10::prim::Constant) return std::nullopt;
  const auto inputs = node->inputs();
  if (inputs.empty() || !std::all_of(inputs.begin(), inputs.end(), holds_number))
    return std::nullopt;
  const auto results = torch::jit::runNodeIfInputsAreConstant(node);
  if (!results) return std::nullopt;
  const c10::IValue& result = results->front();
  const bool is_scalar = result.isScalar() || (result.isTensor() && result.toTensor().dim() == 0);
  return is_scalar ? std::optional<c10::IValue>(result) : std::nullopt;
}

}  // namespace

bool fold_sizes(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  Shapes shapes;  // stays true: only numbers are changed
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
