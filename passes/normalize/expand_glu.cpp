/// \file
/// Implements expand_glu.
#include "passes/normalize/expand_glu.h"

#include "passes/ir.h"

namespace ipex_quant::passes {

namespace {

Value* with_role(Value* value, const Node* glu, const char* role) {
  value->node()->s_(role_attr(), role);
  inherit(value->node(), {glu});
  return value;
}

void expand(Graph& graph, Node* glu) {
  const torch::jit::WithInsertPoint guard(glu);
  Value* two = insert_constant(graph, std::int64_t{2});
  Value* halves = insert_call(graph, "aten::chunk", {glu->input(0), two, glu->input(1)});
  Node* parts = graph.insertNode(graph.createListUnpack(halves, 2));
  Value* gate = insert_call(graph, "aten::sigmoid", {parts->output(1)});
  with_role(gate, glu, "input");
  Value* gated = insert_call(graph, "aten::mul", {parts->output(0), gate});
  replace_node(glu, with_role(gated, glu, "gated"));
}

}  // namespace

bool expand_glu(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for (Node* node : all_nodes(graph)) {
    if (!is_op(node, {"aten::glu"})) continue;
    expand(*graph, node);
    changed = true;
  }
  return changed;
}

}  // namespace ipex_quant::passes
