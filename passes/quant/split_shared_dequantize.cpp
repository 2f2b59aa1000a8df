// Implements split_shared_dequantize.
#include "passes/quant/split_shared_dequantize.h"

#include "passes/ir.h"

namespace ipex_quant::passes {

bool split_shared_dequantize(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for (Node* node : all_nodes(graph)) {
    if (!is_op(node, {"ipex_quant::dequantize"})) continue;
    const auto uses = node->output()->uses();
    Node* last = node;
    for (std::size_t i = 1; i < uses.size(); ++i) {
      Node* clone = graph->createClone(node, [](Value* value) { return value; });
      clone->insertAfter(last);
      uses[i].user->replaceInput(uses[i].offset, clone->output());
      last = clone;
      changed = true;
    }
  }
  return changed;
}

}  // namespace ipex_quant::passes
