// Implements Chains.
#include "passes/fusion/chain.h"

#include <algorithm>

#include "kernels/epilogue.h"
#include "passes/dump.h"
#include "passes/ir.h"
#include "passes/quant/capability.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

/// The one op that reads the value's data, if it stands in the same block.
Node* only_data_user(Value* value) {
  const auto uses = data_uses(value);
  if (uses.size() != 1 || uses[0].user->kind() == c10::prim::Return) return nullptr;
  return uses[0].user->owningBlock() == value->node()->owningBlock() ? uses[0].user : nullptr;
}

/// Reads of the value's shape stand below `node`: they can read the fused result instead.
bool queries_are_below(const Value* value, const Node* node) {
  const auto& uses = value->uses();
  return std::all_of(uses.begin(), uses.end(), [node](const torch::jit::Use& use) {
    return !is_shape_query(use.user) || use.user->isAfter(node);
  });
}

}  // namespace

std::size_t Chain::steps() const {
  std::size_t count = 0;
  for (const PostOp& post_op : post_ops) count += post_op.size();
  return count;
}

std::size_t Chain::tensors() const {
  return static_cast<std::size_t>(
      std::count_if(post_ops.begin(), post_ops.end(), [](const PostOp& post_op) {
        return post_op.reads != PostOp::Reads::kNothing;
      }));
}

Chains::Chains(const std::shared_ptr<Graph>& graph, const std::unordered_set<Node*>& heads,
               const std::unordered_set<const Value*>& written, Shapes& shapes)
    : written_(written), shapes_(shapes) {
  for (Node* node : all_nodes(graph)) visit(node, heads.count(node) != 0);
}

const Chain* Chains::ending_in(const Value* value) const {
  const auto found = ends_.find(value);
  return found == ends_.end() ? nullptr : found->second;
}

const Chain* Chains::absorbing(const Node* node) const {
  const auto found = absorbed_.find(node);
  return found == absorbed_.end() ? nullptr : found->second;
}

void Chains::visit(Node* node, bool head) {
  if (join(node) || !head) return;
  Value* result = node->outputs()[0];
  if (written_.count(result) != 0) return;
  chains_.push_back(
      std::make_unique<Chain>(Chain{node, has_post_ops(kernel_of(node)), {}, {}, {result}}));
  Chain* chain = chains_.back().get();
  ends_[result] = chain;
  order_[chain] = chains_.size();
}

bool Chains::join(Node* node) {
  Chain* best = nullptr;
  std::optional<PostOp> post_op;
  std::string refusal;
  for (Value* input : node->inputs()) {
    const auto found = ends_.find(input);
    if (found == ends_.end()) continue;
    Chain* chain = found->second;
    if (!chain->open || only_data_user(input) != node) continue;
    if (best != nullptr && order_[chain] < order_[best]) continue;
    const bool movable = std::all_of(chain->values.begin(), chain->values.end(),
                                     [node](const Value* v) { return queries_are_below(v, node); });
    if (!movable) {
      log("fusion", "refused",
          std::string(node->kind().toQualString()) + ": a shape is read before");
      continue;
    }
    auto candidate = post_op_of(node, input, shapes_, &refusal);
    if (!candidate) continue;
    const bool reads = candidate->reads != PostOp::Reads::kNothing;
    if (chain->steps() + candidate->size() > kernels::kMaxPostOps ||
        chain->tensors() + (reads ? 1 : 0) > kernels::kMaxPostOpTensors) {
      refusal = "the epilogue is full";
      continue;
    }
    best = chain;
    post_op = std::move(candidate);
  }
  if (best == nullptr || written_.count(node->output()) != 0) {
    if (!refusal.empty()) {
      log("fusion", "refused", std::string(node->kind().toQualString()) + ": " + refusal);
    }
    return false;
  }
  ends_.erase(best->end());
  best->nodes.push_back(node);
  best->post_ops.push_back(std::move(*post_op));
  best->values.push_back(node->output());
  ends_[best->end()] = best;
  absorbed_[node] = best;
  return true;
}

}  // namespace ipex_quant::passes
