// Implements fuse.
#include "passes/fusion/fuse.h"

#include <torch/csrc/jit/passes/constant_pooling.h>

#include <memory>

#include "passes/dump.h"
#include "passes/fusion/anchors.h"
#include "passes/fusion/apply_fusions.h"
#include "passes/fusion/chain.h"
#include "passes/fusion/outline.h"
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

/// The lut that alone reads the codes of `quantize`, if the kernel can look up in its epilogue.
Node* closing_table(const Node* anchor, Node* quantize) {
  if (quantize == nullptr || !has_post_ops(kernel_of(anchor))) return nullptr;
  const auto uses = data_uses(quantize->output());
  if (uses.size() != 1 || !is_op(uses[0].user, {"ipex_quant::lut"})) return nullptr;
  Node* node = uses[0].user;
  const bool here = node->owningBlock() == quantize->owningBlock();
  return here && constant_tensor(node->input(1)) ? node : nullptr;
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
  std::string shown = epilogue_text(steps);
  Node* table = closing_table(chain.anchor, quantize);
  if (table != nullptr) {
    steps.push_back(table_step(constant_tensor(table->input(1))->contiguous()));
    shown += "|table";
  }
  Node* last = chain.nodes.empty() ? chain.anchor : chain.nodes.back();
  const WithInsertPoint guard(last->next());
  const std::string epilogue = epilogue_text(steps);
  const Fused fused = emit_anchor(graph, chain.anchor, epilogue, others, quantize);
  fused.output->node()->is_(anchor_attr(), ids_of(fused.output->node()));
  inherit(fused.output->node(), chain.nodes);
  if (!needs_quantize(chain.anchor)) {
    fused.output->node()->s_(c10::Symbol::attr("iq_epilogue"), shown);
  }

  for (Value* value : chain.values) read_shape_of(value, fused.output);
  for (std::size_t i = 0; i < fused.more.size(); ++i) {
    replace_value(chain.anchor->output(i + 1), fused.more[i]);
  }
  if (table != nullptr) {
    inherit(fused.output->node(), {table});
    read_shape_of(quantize->output(), fused.output);
    replace_node(table, fused.output);
    quantize->destroy();
  } else if (quantize != nullptr) {
    replace_node(quantize, fused.output);
  } else {
    replace_value(end, fused.output);
  }
  for (auto node = chain.nodes.rbegin(); node != chain.nodes.rend(); ++node) (*node)->destroy();
  chain.anchor->destroy();
  return true;
}

std::unordered_set<Node*> heads_of(const std::shared_ptr<Graph>& graph) {
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
  return heads;
}

std::string reason_of(const Node* node, const char* otherwise) {
  return node->hasAttribute(reason_attr()) ? node->s(reason_attr()) : otherwise;
}

/// Takes apart the functions that no table was made of: their ops may still become post-ops.
bool inline_untabulated(const std::shared_ptr<Graph>& graph, const std::vector<Fusion>* fusions) {
  bool changed = false;
  for (Node* node : all_nodes(graph)) {
    if (!is_function(node) || node->hasAttribute(steps_attr())) continue;
    inline_function(*graph, node, reason_of(node, "its input or its result is not int8"), fusions);
    changed = true;
  }
  return changed;
}

/// Takes apart the functions that stand for steps and joined no chain.
bool inline_unabsorbed(const std::shared_ptr<Graph>& graph, const Chains& chains,
                       const std::vector<Fusion>* fusions) {
  bool changed = false;
  for (Node* node : all_nodes(graph)) {
    if (!is_function(node) || chains.absorbing(node) != nullptr) continue;
    inline_function(*graph, node,
                    "no int8 kernel makes its first input for it alone, or the epilogue is full",
                    fusions);
    changed = true;
  }
  return changed;
}

bool fuse_anchors(const std::shared_ptr<Graph>& graph, const std::vector<Fusion>* fusions) {
  bool changed = inline_untabulated(graph, fusions);
  const auto heads = heads_of(graph);
  const auto written = written_values(graph);
  Shapes shapes;
  auto chains = std::make_unique<Chains>(graph, heads, written, shapes);
  if (inline_unabsorbed(graph, *chains, fusions)) {
    shapes = Shapes();
    chains = std::make_unique<Chains>(graph, heads, written, shapes);
    changed = true;
  }
  for (const auto& chain : chains->all()) changed |= emit(*graph, *chain);
  return changed;
}

}  // namespace

bool fuse(const std::shared_ptr<Graph>& graph, PassContext& context) {
  bool changed = apply_int8_fusions(graph, context);
  changed |= fuse_anchors(graph, context.fusions);
  if (changed) {
    remove_dead(graph);
    torch::jit::ConstantPooling(graph);
  }
  return changed;
}

}  // namespace ipex_quant::passes
