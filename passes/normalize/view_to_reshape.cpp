/// \file
/// Implements view_to_reshape.
#include "passes/normalize/view_to_reshape.h"

#include "passes/ir.h"

namespace ipex_quant::passes {

bool view_to_reshape(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for_each_node(graph->block(), [&](Node* node) {
    if (!is_op(node, {"aten::view", "aten::_unsafe_view"}) ||
        !node->input(1)->type()->isSubtypeOf(*c10::ListType::ofInts())) {
      return;
    }
    const torch::jit::WithInsertPoint guard(node);
    Node* reshape = graph->insertNode(graph->create(c10::aten::reshape, node->inputs()));
    reshape->output()->setType(node->output()->type());
    inherit(reshape, {node});
    replace_node(node, reshape->output());
    changed = true;
  });
  return changed;
}

}  // namespace ipex_quant::passes
