// Implements bind.
#include "passes/freeze/bind.h"

#include <torch/csrc/jit/passes/common_subexpression_elimination.h>
#include <torch/csrc/jit/passes/constant_pooling.h>
#include <torch/csrc/jit/passes/constant_propagation.h>

#include <algorithm>

#include "passes/ir.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

bool reads_channels_last(const Node* node) {
  return is_op(node, {"ipex_quant::conv", "ipex_quant::max_pool", "ipex_quant::avg_pool",
                      "ipex_quant::adaptive_avg_pool", "ipex_quant::adaptive_max_pool"});
}

bool choose_layouts(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for (Node* node : all_nodes(graph)) {
    if (!is_op(node, {"ipex_quant::quantize"})) continue;
    const auto uses = data_uses(node->output());
    const bool all = !uses.empty() && std::all_of(uses.begin(), uses.end(), [](const auto& use) {
      return reads_channels_last(use.user);
    });
    if (!all) continue;
    const torch::jit::WithInsertPoint guard(node);
    replace_node(node,
                 insert_call(*graph, "ipex_quant::quantize_channels_last", node->inputs().vec()));
    changed = true;
  }
  return changed;
}

bool packs(const Node* node) {
  const std::string name = node->kind().toQualString();
  const std::string end = "_prepack";
  return name.rfind("ipex_quant::", 0) == 0 && name.size() > end.size() &&
         name.compare(name.size() - end.size(), end.size(), end) == 0;
}

/// Packs what constant propagation left: it drops every error of an op, also of one that makes a
/// constant for it, and a graph that packs in each call would be right and slow. Here the error is
/// thrown.
bool pack_rest(std::shared_ptr<Graph>& graph) {
  const auto left = [&] {
    std::vector<Node*> nodes = all_nodes(graph);
    nodes.erase(std::remove_if(nodes.begin(), nodes.end(), [](Node* n) { return !packs(n); }),
                nodes.end());
    return nodes;
  };
  if (left().empty()) return false;
  bool changed = torch::jit::ConstantPropagation(graph);
  for (Node* node : left()) {
    torch::jit::Stack stack;
    for (const Value* input : node->inputs()) {
      const auto constant = constant_of(input);
      if (!constant) break;
      stack.push_back(*constant);
    }
    if (stack.size() != node->inputs().size()) continue;
    node->getOperation()(stack);
    const torch::jit::WithInsertPoint guard(node);
    replace_node(node, insert_constant(*graph, stack.back()));
    changed = true;
  }
  return changed;
}

std::size_t node_count(const std::shared_ptr<Graph>& graph) { return all_nodes(graph).size(); }

}  // namespace

bool bind(const std::shared_ptr<Graph>& graph) {
  bool changed = choose_layouts(graph);
  const std::size_t before = node_count(graph);
  auto same = graph;
  torch::jit::ConstantPooling(graph);
  torch::jit::EliminateCommonSubexpression(graph);
  changed |= torch::jit::ConstantPropagation(same);
  changed |= pack_rest(same);
  torch::jit::ConstantPooling(graph);
  remove_dead(graph);
  return changed || node_count(graph) != before;
}

}  // namespace ipex_quant::passes
