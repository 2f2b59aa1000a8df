/// \file
/// Implements remove_dropout.
#include "passes/normalize/remove_dropout.h"

#include "passes/ir.h"

namespace ipex_quant::passes {

namespace {

bool is_identity(const Node* node) {
  if (is_op(node, {"aten::detach", "aten::detach_", "aten::alias", "aten::lift_fresh"})) {
    return true;
  }
  if (!is_op(node, {"aten::dropout", "aten::dropout_", "aten::feature_dropout",
                    "aten::feature_dropout_", "aten::alpha_dropout", "aten::alpha_dropout_",
                    "aten::feature_alpha_dropout", "aten::feature_alpha_dropout_"})) {
    return false;
  }
  const auto train = constant_bool(node->input(2));
  return train.has_value() && !*train;
}

}  // namespace

bool remove_dropout(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for_each_node(graph->block(), [&changed](Node* node) {
    if (is_identity(node)) {
      replace_node(node, node->input(0));
      changed = true;
    }
  });
  return remove_dead(graph) || changed;
}

}  // namespace ipex_quant::passes
