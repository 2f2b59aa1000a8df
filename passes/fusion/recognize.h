/// \file
/// The loop of the passes that find functions written out in simpler ops.
#pragma once

#include <vector>

#include "passes/ir.h"

namespace ipex_quant::passes {

/// One op that stands for several nodes.
struct Recognized {
  const char* op;
  Value* x;                            ///< its first input
  std::vector<Node*> nodes;            ///< what wrote it out, innermost first, without the last one
  std::vector<c10::IValue> more = {};  ///< its further inputs
};

/// Replaces the result of each node for which `find` gives a Recognized by that op, which inherits
/// from all of its nodes. \return whether there was one.
template <class Find>
bool recognize(const std::shared_ptr<Graph>& graph, const Find& find) {
  bool changed = false;
  for (Node* node : all_nodes(graph)) {
    std::optional<Recognized> found = find(node);
    if (!found) continue;
    const torch::jit::WithInsertPoint guard(node);
    std::vector<Value*> inputs = {found->x};
    for (const c10::IValue& value : found->more) inputs.push_back(insert_constant(*graph, value));
    Value* y = insert_call(*graph, found->op, inputs);
    found->nodes.push_back(node);
    inherit(y->node(), found->nodes);
    // `node` stays until the end: it may be a part of a later match, which then fails.
    node->output()->replaceAllUsesWith(y);
    changed = true;
  }
  if (changed) remove_dead(graph);
  return changed;
}

}  // namespace ipex_quant::passes
