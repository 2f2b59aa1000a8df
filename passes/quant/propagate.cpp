// Implements propagate.
#include "passes/quant/propagate.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/passes/constant_pooling.h>

#include <algorithm>
#include <unordered_set>

#include "passes/ir.h"
#include "passes/quant/data_movement.h"
#include "passes/quant/plan.h"
#include "passes/quant/tables.h"

namespace ipex_quant::passes {

namespace {

using torch::jit::WithInsertPoint;

bool is_quantize(const Node* node) { return is_op(node, {"ipex_quant::quantize"}); }
bool is_dequantize(const Node* node) { return is_op(node, {"ipex_quant::dequantize"}); }

/// The constant qparams of a quantize or dequantize; nothing when they are computed.
std::optional<QParams> qparams_of(const Node* node) {
  const auto scale = constant_number(node->input(1));
  const auto zero_point = constant_int(node->input(2));
  if (!scale || !zero_point) return std::nullopt;
  return QParams{*scale, *zero_point};
}

std::optional<QParams> dequantize_params(const Value* value) {
  return is_dequantize(value->node()) ? qparams_of(value->node()) : std::nullopt;
}

Value* insert_qparams_call(Graph& graph, const char* op, Value* value, const QParams& q) {
  return insert_call(
      graph, op, {value, insert_constant(graph, q.scale), insert_constant(graph, q.zero_point)});
}

class Propagator {
 public:
  explicit Propagator(const std::shared_ptr<Graph>& graph)
      : graph_(graph), written_(written_values(graph)) {}

  bool run() {
    bool changed = false;
    while (sweep()) {
      remove_dead(graph_);
      hoisted_.clear();
      changed = true;
    }
    if (changed) torch::jit::ConstantPooling(graph_);
    return changed;
  }

 private:
  bool sweep() {
    bool changed = false;
    destroyed_.clear();
    for (Node* node : all_nodes(graph_)) {
      if (destroyed_.count(node) == 0) changed |= visit(node);
    }
    return changed;
  }

  bool visit(Node* node) {
    if (is_quantize(node)) {
      return qparams_of(node) && (meet(node) || tabulate(node) || pull_up(node) || merge(node));
    }
    if (is_shape_query(node) && is_dequantize(node->input(0)->node())) {
      node->replaceInput(0, node->input(0)->node()->input(0));
      return true;
    }
    return push_down(node) || push_down_cat(node) || compose(node);
  }

  void destroy(Node* node) {
    destroyed_.insert(node);
    hoisted_.erase(node);
    node->destroy();
  }

  void replace(Node* node, Value* value) {
    node->output()->replaceAllUsesWith(value);
    destroy(node);
  }

  bool is_written(const Value* value) const { return written_.count(value) != 0; }

  /// dequantize -> quantize
  bool meet(Node* node) {
    const auto from = dequantize_params(node->input(0));
    if (!from) return false;
    const QParams to = *qparams_of(node);
    Value* q = node->input(0)->node()->input(0);
    if (!(*from == to)) {
      const WithInsertPoint guard(node);
      q = insert_call(
          *graph_, "ipex_quant::requantize",
          {q, insert_constant(*graph_, from->scale), insert_constant(*graph_, from->zero_point),
           insert_constant(*graph_, to.scale), insert_constant(*graph_, to.zero_point)});
    }
    replace(node, q);
    return true;
  }

  /// dequantize -> elementwise ops -> quantize
  bool tabulate(Node* node) {
    std::vector<Node*> chain;
    Value* value = node->input(0);
    while (is_elementwise(value->node()) && !is_written(value)) {
      chain.push_back(value->node());
      value = value->node()->input(0);
    }
    if (chain.empty() || !dequantize_params(value)) return false;
    std::reverse(chain.begin(), chain.end());
    const WithInsertPoint guard(node);
    Value* table = insert_constant(*graph_, table_of(value->node(), chain, node));
    Value* q = insert_call(*graph_, "ipex_quant::lut", {value->node()->input(0), table});
    inherit(q->node(), chain);
    replace(node, q);
    return true;
  }

  /// The first node of `block` that reads the value, itself or in a nested block.
  static Node* first_reader(const Value* value, const Block* block) {
    Node* first = nullptr;
    for (const torch::jit::Use& use : value->uses()) {
      Node* user = use.user;
      while (user != nullptr && user->owningBlock() != block)
        user = user->owningBlock()->owningNode();
      if (user != nullptr && (first == nullptr || user->isBefore(first))) first = user;
    }
    return first;
  }

  /// The quantize of `value` with these qparams that stands above all its readers in the block of
  /// `reader`, made if need be.
  Value* quantize_above(Value* value, const QParams& qparams, const Node* reader) {
    const Block* block = reader->owningBlock();
    for (const torch::jit::Use& use : value->uses()) {
      if (hoisted_.count(use.user) != 0 && use.user->owningBlock() == block &&
          qparams_of(use.user) == qparams) {
        return use.user->output();
      }
    }
    Node* maker = value->node();
    const bool here = maker->owningBlock() == block && maker->kind() != c10::prim::Param;
    const WithInsertPoint guard(here ? maker->next() : first_reader(value, block));
    Value* q = insert_qparams_call(*graph_, "ipex_quant::quantize", value, qparams);
    hoisted_.insert(q->node());
    return q;
  }

  /// Another quantize than `node` of `value`, with these qparams and in the block of `node`.
  static bool has_quantize(const Value* value, const QParams& qparams, const Node* node) {
    const auto& uses = value->uses();
    return std::any_of(uses.begin(), uses.end(), [&](const torch::jit::Use& use) {
      return use.user != node && is_quantize(use.user) && qparams_of(use.user) == qparams &&
             use.user->owningBlock() == node->owningBlock();
    });
  }

  /// move -> quantize
  bool pull_up(Node* node) {
    Value* value = node->input(0);
    const auto movement = movement_of(value);
    const QParams qparams = *qparams_of(node);
    if (!movement || is_written(value) || is_written(movement->input)) return false;
    if (movement->node->owningBlock() != node->owningBlock()) return false;
    if (movement->moves == Moves::kSome && !has_quantize(movement->input, qparams, node))
      return false;
    Value* source = quantize_above(movement->input, qparams, movement->node);
    const WithInsertPoint guard(value->node()->next());
    Value* moved = move(*movement, source, qparams);
    // A float op that only its shape keeps alive goes.
    for (const torch::jit::Use& use : std::vector<torch::jit::Use>(value->uses())) {
      if (is_shape_query(use.user)) use.user->replaceInput(use.offset, moved);
    }
    replace(node, moved);
    return true;
  }

  /// lut -> lut
  bool compose(Node* node) {
    if (!is_op(node, {"ipex_quant::lut"}) || !made_by(node->input(0), {"ipex_quant::lut"})) {
      return false;
    }
    Node* first = node->input(0)->node();
    const auto inner = constant_tensor(first->input(1));
    const auto outer = constant_tensor(node->input(1));
    if (!inner || !outer) return false;
    const WithInsertPoint guard(node);
    Value* table = insert_constant(*graph_, outer->index_select(0, inner->to(at::kLong)));
    Value* q = insert_call(*graph_, "ipex_quant::lut", {first->input(0), table});
    inherit(q->node(), {first, node});
    replace(node, q);
    return true;
  }

  /// Two quantizes of one value with equal qparams.
  bool merge(Node* node) {
    const QParams qparams = *qparams_of(node);
    if (hoisted_.count(node) != 0 || !has_quantize(node->input(0), qparams, node)) return false;
    replace(node, quantize_above(node->input(0), qparams, node));
    return true;
  }

  /// The op of `movement` on the int8 tensor `source`, at the insert point; the same output of it.
  Value* move(const Movement& movement, Value* source, const QParams& qparams) {
    Node* node = movement.node;
    Value* result = move_node(node, source, qparams);
    if (movement.output->node() == node) return result;
    Node* unpack = graph_->insertNode(
        graph_->createListUnpack(result, movement.output->node()->outputs().size()));
    return unpack->output(movement.output->offset());
  }

  /// The operator of ours that pools int8 data, or nullptr: torch's take none.
  static const char* int8_pool(const Node* node) {
    if (is_op(node, {"aten::max_pool1d", "aten::max_pool2d", "aten::max_pool3d"}))
      return "ipex_quant::max_pool";
    const bool adaptive = is_op(node, {"aten::adaptive_max_pool1d", "aten::adaptive_max_pool2d",
                                       "aten::adaptive_max_pool3d"});
    return adaptive ? "ipex_quant::adaptive_max_pool" : nullptr;
  }

  Value* move_node(Node* node, Value* source, const QParams& qparams) {
    if (const char* pool = int8_pool(node)) {
      std::vector<Value*> inputs = node->inputs().vec();
      inputs[0] = source;
      Value* pooled = insert_call(*graph_, pool, inputs);
      inherit(pooled->node(), {node});
      return pooled;
    }
    Node* clone = graph_->createClone(node, [](Value* value) { return value; });
    clone->replaceInput(0, source);
    const bool pads = is_op(node, {"aten::constant_pad_nd"}) ||
                      (is_op(node, {"aten::pad"}) && constant_string(node->input(2)) == "constant");
    if (pads) {
      const std::size_t at = is_op(node, {"aten::pad"}) ? 3 : 2;
      Value* fill = at == 3 ? insert_constant(*graph_, static_cast<double>(qparams.zero_point))
                            : insert_constant(*graph_, qparams.zero_point);
      clone->replaceInput(at, fill);
    }
    graph_->insertNode(clone);
    return clone->output();
  }

  /// dequantize -> move
  bool push_down(Node* node) {
    Value* input = moved_input(node);
    if (input == nullptr || !dequantize_params(input) || is_written(input)) return false;
    const QParams qparams = *dequantize_params(input);
    Value* source = input->node()->input(0);
    Value* output = node->outputs()[0];  // an adaptive max pool has indices, too
    if (!output->type()->cast<c10::TensorType>()) return push_down_list(node, source, qparams);
    if (is_written(output)) return false;
    const WithInsertPoint guard(node->next());
    Value* moved = move_node(node, source, qparams);
    give_dequantized(output, moved, qparams);
    destroy(node);
    return true;
  }

  /// dequantize -> chunk, split, unbind
  bool push_down_list(Node* node, Value* source, const QParams& qparams) {
    Node* unpack = only_user(node->output());
    if (unpack == nullptr || unpack->kind() != c10::prim::ListUnpack) return false;
    for (const Value* output : unpack->outputs()) {
      if (is_written(output)) return false;
    }
    const WithInsertPoint guard(unpack->next());
    Value* list = move_node(node, source, qparams);
    Node* parts = graph_->insertNode(graph_->createListUnpack(list, unpack->outputs().size()));
    for (std::size_t i = 0; i < unpack->outputs().size(); ++i) {
      if (unpack->output(i)->hasUses())
        give_dequantized(unpack->output(i), parts->output(i), qparams);
    }
    destroy(unpack);
    destroy(node);
    return true;
  }

  /// Each reader of `old` reads a dequantize of its own; shape queries read the int8 tensor.
  void give_dequantized(Value* old, Value* q, const QParams& qparams) {
    for (const torch::jit::Use& use : std::vector<torch::jit::Use>(old->uses())) {
      Value* value = is_shape_query(use.user)
                         ? q
                         : insert_qparams_call(*graph_, "ipex_quant::dequantize", q, qparams);
      use.user->replaceInput(use.offset, value);
    }
  }

  /// dequantize of equal qparams -> cat
  bool push_down_cat(Node* node) {
    if (!is_op(node, {"aten::cat", "aten::concat", "aten::stack"})) return false;
    Value* list = node->input(0);
    if (!made_by(list, {"prim::ListConstruct"}) || list->uses().size() != 1) return false;
    const auto inputs = list->node()->inputs();
    if (inputs.empty() || is_written(node->output())) return false;
    const auto qparams = dequantize_params(inputs[0]);
    std::vector<Value*> sources;
    for (const Value* input : inputs) {
      const auto other = dequantize_params(input);
      if (!qparams || !other || !(*other == *qparams)) return false;
      sources.push_back(const_cast<Value*>(input->node()->input(0)));
    }
    const WithInsertPoint guard(node->next());
    Node* pack = graph_->insertNode(graph_->createList(c10::TensorType::get(), sources));
    give_dequantized(node->output(), join(node, pack->output(), inputs.size(), *qparams), *qparams);
    destroy(node);
    return true;
  }

  /// The cat or stack `node` of int8 tensors of one scale. Our cat copies pixels of few channels
  /// several times as fast.
  Value* join(Node* node, Value* tensors, std::size_t count, const QParams& q) {
    if (is_op(node, {"aten::stack"})) {
      Node* clone = graph_->createClone(node, [](Value* value) { return value; });
      clone->replaceInput(0, tensors);
      return graph_->insertNode(clone)->output();
    }
    Value* joined = insert_call(
        *graph_, "ipex_quant::cat",
        {tensors, insert_constant(*graph_, std::vector<double>(count, q.scale)),
         insert_constant(*graph_, std::vector<std::int64_t>(count, q.zero_point)), node->input(1),
         insert_constant(*graph_, q.scale), insert_constant(*graph_, q.zero_point)});
    inherit(joined->node(), {node});
    return joined;
  }

  const std::shared_ptr<Graph>& graph_;
  std::unordered_set<const Value*> written_;
  std::unordered_set<const Node*> destroyed_;
  std::unordered_set<const Node*> hoisted_;  ///< quantizes that stand above their value's readers
};

}  // namespace

bool propagate(const std::shared_ptr<Graph>& graph) { return Propagator(graph).run(); }

}  // namespace ipex_quant::passes
