// Implements fuse.
#include "passes/fusion/fuse.h"

#include <torch/csrc/jit/passes/constant_pooling.h>

#include "passes/dump.h"
#include "passes/fusion/anchors.h"
#include "passes/fusion/chain.h"
#include "passes/fusion/fusion.h"
#include "passes/ir.h"
#include "passes/quant/capability.h"
#include "passes/quant/data_movement.h"
#include "passes/quant/plan.h"

namespace ipex_quant::passes {

namespace {

using torch::jit::WithInsertPoint;

/// The quantize that alone reads the value, or nullptr.
Node* closing_quantize(Value* value) {
  const auto uses = data_uses(value);
  if (uses.size() != 1 || !is_op(uses[0].user, {"ipex_quant::quantize"})) return nullptr;
  Node* node = uses[0].user;
  const bool constant = constant_of(node->input(1)) && constant_of(node->input(2));
  return constant && node->owningBlock() == value->node()->owningBlock() ? node : nullptr;
}

void read_shape_of(Value* old, Value* value) {
  for (const torch::jit::Use& use : std::vector<torch::jit::Use>(old->uses())) {
    if (is_shape_query(use.user)) use.user->replaceInput(use.offset, value);
  }
}

bool emit(Graph& graph, const Chain& chain) {
  Value* end = chain.end();
  Node* quantize = closing_quantize(end);
  if (quantize == nullptr && needs_quantize(chain.anchor)) return false;
  std::vector<std::string> steps;
  std::vector<Value*> others;
  for (std::size_t i = 0; i < chain.post_ops.size(); ++i) {
    append_steps(chain.post_ops[i], chain.nodes[i], steps, others);
  }
  if (quantize != nullptr) {
    steps.push_back(quantize_step(constant_number(quantize->input(1)).value(),
                                  constant_int(quantize->input(2)).value()));
  }
  Node* last = chain.nodes.empty() ? chain.anchor : chain.nodes.back();
  const WithInsertPoint guard(last->next());
  const std::string epilogue = epilogue_text(steps);
  const Fused fused = emit_anchor(graph, chain.anchor, epilogue, others, quantize);
  fused.output->node()->is_(anchor_attr(), ids_of(fused.output->node()));
  inherit(fused.output->node(), chain.nodes);
  if (!needs_quantize(chain.anchor)) {
    fused.output->node()->s_(c10::Symbol::attr("iq_epilogue"), epilogue);
  }

  for (Value* value : chain.values) read_shape_of(value, fused.output);
  for (std::size_t i = 0; i < fused.more.size(); ++i) {
    replace_value(chain.anchor->output(i + 1), fused.more[i]);
  }
  if (quantize != nullptr) {
    replace_node(quantize, fused.output);
  } else {
    replace_value(end, fused.output);
  }
  for (auto node = chain.nodes.rbegin(); node != chain.nodes.rend(); ++node) (*node)->destroy();
  chain.anchor->destroy();
  return true;
}

bool fuse_anchors(const std::shared_ptr<Graph>& graph) {
  std::unordered_set<Node*> heads;
  for (Node* node : all_nodes(graph)) {
    const Kernel kernel = kernel_of(node);
    if (kernel == Kernel::kNone || kernel == Kernel::kUnary) continue;
    const std::string refusal = refuse_anchor(node);
    if (refusal.empty()) {
      heads.insert(node);
    } else {
      log("fusion", "refused", std::string(node->kind().toQualString()) + ": " + refusal);
      if (reads_quantized(node)) set_reason(node, refusal);
    }
  }
  const auto written = written_values(graph);
  Shapes shapes;
  const Chains chains(graph, heads, written, shapes);
  bool changed = false;
  for (const auto& chain : chains.all()) changed |= emit(*graph, *chain);
  return changed;
}

}  // namespace

bool fuse(const std::shared_ptr<Graph>& graph, PassContext& context) {
  bool changed = context.fusions != nullptr && apply_fusions(graph, *context.fusions);
  changed |= fuse_anchors(graph);
  if (changed) {
    remove_dead(graph);
    torch::jit::ConstantPooling(graph);
  }
  return changed;
}

}  // namespace ipex_quant::passes
