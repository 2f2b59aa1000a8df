// Implements sink_shape_queries.
#include "passes/quant/sink_shape_queries.h"

#include "passes/ir.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

bool makes_no_tensor(const Node* node) {
  for (const Value* output : node->outputs()) {
    const auto& type = output->type();
    const bool list = type->isSubtypeOf(*c10::ListType::ofInts());
    if (!list && !type->isSubtypeOf(*c10::IntType::get())) return false;
  }
  return !node->outputs().empty();
}

bool sinks(const Node* node) {
  if (node->kind() == c10::prim::Constant || !node->blocks().empty()) return false;
  return is_shape_query(node) || is_op(node, {"prim::NumToTensor"}) || makes_no_tensor(node);
}

/// The node of `block` that is `user` or holds it in a nested block.
Node* holder(Node* user, const Block* block) {
  while (user->owningBlock() != block) user = user->owningBlock()->owningNode();
  return user;
}

Node* first_user(Node* node) {
  Node* first = nullptr;
  for (const Value* output : node->outputs()) {
    for (const torch::jit::Use& use : output->uses()) {
      Node* user = holder(use.user, node->owningBlock());
      if (first == nullptr || user->isBefore(first)) first = user;
    }
  }
  return first;
}

bool sink_in(Block* block) {
  bool changed = false;
  for (Node* node = block->return_node()->prev(); node != block->param_node();) {
    Node* const above = node->prev();
    for (Block* inner : node->blocks()) changed |= sink_in(inner);
    if (sinks(node)) {
      Node* user = first_user(node);
      if (user != nullptr && node->next() != user) {
        // Constants and other sinking nodes may stand between: what counts is a tensor op.
        bool crosses = false;
        for (Node* n = node->next(); n != user; n = n->next()) {
          crosses |= n->kind() != c10::prim::Constant && !sinks(n);
        }
        if (crosses) {
          node->moveBefore(user);
          changed = true;
        }
      }
    }
    node = above;
  }
  return changed;
}

}  // namespace

bool sink_shape_queries(const std::shared_ptr<Graph>& graph) { return sink_in(graph->block()); }

}  // namespace ipex_quant::passes
