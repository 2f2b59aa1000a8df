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
                      "ipex_quant::adaptive_avg_pool"});
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

std::size_t node_count(const std::shared_ptr<Graph>& graph) { return all_nodes(graph).size(); }

}  // namespace

bool bind(const std::shared_ptr<Graph>& graph) {
  bool changed = choose_layouts(graph);
  const std::size_t before = node_count(graph);
  auto same = graph;
  torch::jit::ConstantPooling(graph);
  torch::jit::EliminateCommonSubexpression(graph);
  changed |= torch::jit::ConstantPropagation(same);
  torch::jit::ConstantPooling(graph);
  remove_dead(graph);
  return changed || node_count(graph) != before;
}

}  // namespace ipex_quant::passes
