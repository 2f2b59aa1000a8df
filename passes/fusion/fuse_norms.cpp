// Implements fuse_norms.
#include "passes/fusion/fuse_norms.h"

#include <ATen/ATen.h>

#include <limits>

#include "passes/fusion/known_float.h"
#include "passes/fusion/post_ops.h"
#include "passes/ir.h"
#include "passes/normalize/rank.h"
#include "passes/quant/data_movement.h"
#include "passes/quant/shapes.h"

namespace ipex_quant::passes {

namespace {

using torch::jit::WithInsertPoint;

/// Steps behind a group norm that its epilogue takes.
constexpr std::size_t kLongestTail = 8;

bool is_quantize(const Node* node) {
  return is_op(node, {"ipex_quant::quantize"}) && constant_of(node->input(1)) &&
         constant_of(node->input(2));
}

/// A quantize of a norm's result, perhaps of its product with a constant per channel.
struct Quantized {
  Node* quantize = nullptr;
  Node* mul = nullptr;
  std::optional<at::Tensor> factor;
};

/// The constant factor of `mul` when it has this shape and only a quantize reads the product.
std::optional<at::Tensor> factor_of(Node* mul, const Value* value,
                                    const std::vector<std::int64_t>& shape) {
  if (!is_op(mul, {"aten::mul"}) || mul->input(0) != value) return std::nullopt;
  const auto factor = constant_tensor(mul->input(1));
  const Node* reader = only_user(mul->output());
  const bool quantized = reader != nullptr && is_quantize(reader);
  const bool fits = factor && factor->scalar_type() == at::kFloat && factor->sizes().equals(shape);
  return quantized && fits ? factor : std::nullopt;
}

/// The first quantize in the block of the value that reads it. `shape`: of the factors of a mul
/// that may stand between, or null.
Quantized quantize_of(Value* value, const std::vector<std::int64_t>* shape) {
  Quantized first;
  for (const torch::jit::Use& use : value->uses()) {
    Quantized found{use.user, nullptr, std::nullopt};
    if (found.quantize->owningBlock() != value->node()->owningBlock()) continue;
    if (shape != nullptr && (found.factor = factor_of(use.user, value, *shape))) {
      found.mul = use.user;
      found.quantize = only_user(use.user->output());
    }
    if (!is_quantize(found.quantize)) continue;
    if (first.quantize == nullptr || found.quantize->isBefore(first.quantize)) first = found;
  }
  return first;
}

bool is_last_dimension(const Node* softmax) {
  const auto dim = constant_int(softmax->input(1));
  if (!dim || *dim == -1) return dim.has_value();
  Shapes shapes;  // the graph has changed since the softmax before
  const Shape& shape = shapes.of(softmax->input(0));
  if (shape.ranked) return *dim + 1 == static_cast<std::int64_t>(shape.dims.size());
  return rank_of(softmax->output()) == std::optional(*dim + 1);
}

bool fuse_softmax(Graph& graph, Node* node) {
  // _safe_softmax gives 0 to a row of -inf, softmax NaN: quantize makes the same of both where the
  // code of 0 is 0.
  Node* quantize = quantize_of(node->output(), nullptr).quantize;
  if (quantize == nullptr || data_uses(node->output()).size() != 1) return false;
  const bool safe = is_op(node, {"aten::_safe_softmax"});
  if (safe && constant_int(quantize->input(2)) != std::optional<std::int64_t>(0)) return false;
  const bool casts = !is_none(node->input(2)) &&
                     (constant_int(node->input(2)) != static_cast<std::int64_t>(at::kFloat) ||
                      !is_known_float(node->input(0)));
  if (casts || !is_last_dimension(node)) return false;
  const WithInsertPoint guard(node);
  Value* q =
      insert_call(graph, "ipex_quant::softmax",
                  {node->input(0), insert_constant(graph, constant_of(quantize->input(1)).value()),
                   insert_constant(graph, constant_of(quantize->input(2)).value())});
  inherit(q->node(), {node});
  node->output()->replaceAllUsesWith(q);  // reads of its shape
  quantize->replaceInput(0, node->output());
  replace_node(quantize, q);
  node->destroy();
  return true;
}

/// Weight or bias of the norm; nullptr when it is not a float32 constant.
Value* affine_of(Graph& graph, Value* value, const at::Tensor& otherwise) {
  if (is_none(value)) return insert_constant(graph, otherwise);
  const auto tensor = constant_tensor(value);
  return tensor && tensor->scalar_type() == at::kFloat ? value : nullptr;
}

/// layer_norm(input, normalized_shape, weight, bias, eps, cudnn_enable)
bool fuse_layer_norm(Graph& graph, Node* node) {
  const auto shape = constant_ints(node->input(1));
  const auto eps = constant_number(node->input(4));
  if (!shape || shape->empty() || !eps) return false;
  const Quantized found = quantize_of(node->output(), &*shape);
  if (found.quantize == nullptr) return false;
  const WithInsertPoint guard(node);
  Value* weight = affine_of(graph, node->input(2), at::ones(*shape));
  Value* bias = affine_of(graph, node->input(3), at::zeros(*shape));
  if (weight == nullptr || bias == nullptr) return false;
  const bool alone = data_uses(node->output()).size() == 1;
  const c10::IValue factor = found.factor ? c10::IValue(*found.factor) : c10::IValue();
  Value* result = insert_call(
      graph, alone ? "ipex_quant::layer_norm_quantize" : "ipex_quant::layer_norm",
      {node->input(0), weight, bias, insert_constant(graph, *eps), insert_constant(graph, factor),
       insert_constant(graph, constant_of(found.quantize->input(1)).value()),
       insert_constant(graph, constant_of(found.quantize->input(2)).value())});
  Node* run = result->node();
  // A call with several results comes back as a tuple or as its unpacked values.
  if (run->kind() == c10::prim::TupleConstruct) run = result->node()->input(0)->node();
  inherit(run, {node});
  replace_node(found.quantize, run->output(alone ? 0 : 1));
  if (found.mul != nullptr) found.mul->destroy();
  replace_node(node, run->output(0));  // with `alone` only reads of its shape are left
  return true;
}

/// rms_norm(input, normalized_shape, weight, eps)
bool fuse_rms_norm(Graph& graph, Node* node) {
  const auto shape = constant_ints(node->input(1));
  std::optional<double> eps = std::numeric_limits<float>::epsilon();
  if (!is_none(node->input(3))) eps = constant_number(node->input(3));
  if (!shape || shape->empty() || !eps || data_uses(node->output()).size() != 1) return false;
  const Quantized found = quantize_of(node->output(), &*shape);
  if (found.quantize == nullptr) return false;
  const WithInsertPoint guard(node);
  Value* weight = affine_of(graph, node->input(2), at::ones(*shape));
  if (weight == nullptr) return false;
  if (found.factor) weight = insert_constant(graph, *constant_tensor(weight) * *found.factor);
  Value* q = insert_call(graph, "ipex_quant::rms_norm_quantize",
                         {node->input(0), weight, insert_constant(graph, *eps),
                          insert_constant(graph, constant_of(found.quantize->input(1)).value()),
                          insert_constant(graph, constant_of(found.quantize->input(2)).value())});
  inherit(q->node(), {node});
  replace_node(found.quantize, q);
  if (found.mul != nullptr) found.mul->destroy();
  replace_node(node, q);  // reads of its shape
  return true;
}

/// What stands behind a group norm: functions of one number, then a quantize.
struct Tail {
  std::vector<Node*> nodes;  ///< the last one is the quantize
  std::vector<std::string> steps;
};

std::optional<Tail> tail_of(Value* value) {
  Tail tail;
  Shapes shapes;
  while (true) {
    const auto uses = data_uses(value);
    if (uses.size() != 1 || uses[0].user->owningBlock() != value->node()->owningBlock())
      return std::nullopt;
    Node* node = uses[0].user;
    tail.nodes.push_back(node);
    if (is_quantize(node)) {
      tail.steps.push_back(quantize_step(constant_number(node->input(1)).value(),
                                         constant_int(node->input(2)).value()));
      return tail;
    }
    std::string refusal;
    const auto step = post_op_of(node, value, shapes, &refusal);
    std::vector<Value*> others;
    if (!step || step->reads != PostOp::Reads::kNothing) return std::nullopt;
    append_steps(*step, node, tail.steps, others);
    value = node->output();
  }
}

/// group_norm(input, num_groups, weight, bias, eps, cudnn_enabled), or
/// instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps,
/// cudnn_enabled) of its own statistics: a group norm of one channel per group.
bool fuse_group_norm(Graph& graph, Node* node) {
  const bool instance = is_op(node, {"aten::instance_norm"});
  if (instance && !constant_bool(node->input(5)).value_or(false)) return false;
  const auto groups = instance ? std::optional<std::int64_t>(-1) : constant_int(node->input(1));
  const auto eps = constant_number(node->input(instance ? 7 : 4));
  if (!groups || !eps) return false;
  const std::size_t weight = instance ? 1 : 2;
  for (const std::size_t i : {weight, weight + 1}) {
    const auto tensor = constant_tensor(node->input(i));
    if (!is_none(node->input(i)) && !(tensor && tensor->scalar_type() == at::kFloat)) return false;
  }
  const auto tail = tail_of(node->output());
  // A long chain would not fit into an epilogue.
  if (!tail || tail->steps.size() > kLongestTail) return false;
  const WithInsertPoint guard(node);
  const std::string epilogue = epilogue_text(tail->steps);
  Value* q = insert_call(graph, "ipex_quant::group_norm",
                         {node->input(0), insert_constant(graph, *groups), node->input(weight),
                          node->input(weight + 1), insert_constant(graph, *eps),
                          insert_constant(graph, epilogue)});
  q->node()->s_(c10::Symbol::attr("iq_epilogue"), epilogue);
  std::vector<Node*> joined = {node};
  joined.insert(joined.end(), tail->nodes.begin(), tail->nodes.end() - 1);
  inherit(q->node(), joined);
  for (auto it = tail->nodes.rbegin(); it != tail->nodes.rend(); ++it) replace_node(*it, q);
  replace_node(node, q);  // reads of its shape, as those of the others
  return true;
}

}  // namespace

bool fuse_norms(const std::shared_ptr<Graph>& graph) {
  const auto written = written_values(graph);
  std::vector<Node*> norms;  // before any quantize goes
  for (Node* node : all_nodes(graph)) {
    const bool norm = is_op(node, {"aten::softmax", "aten::_safe_softmax", "aten::layer_norm",
                                   "aten::rms_norm", "aten::group_norm", "aten::instance_norm"});
    if (norm && written.count(node->output()) == 0) norms.push_back(node);
  }
  bool changed = false;
  for (Node* node : norms) {
    if (is_op(node, {"aten::layer_norm"})) {
      changed |= fuse_layer_norm(*graph, node);
    } else if (is_op(node, {"aten::rms_norm"})) {
      changed |= fuse_rms_norm(*graph, node);
    } else if (is_op(node, {"aten::group_norm", "aten::instance_norm"})) {
      changed |= fuse_group_norm(*graph, node);
    } else {
      changed |= fuse_softmax(*graph, node);
    }
  }
  if (changed) remove_dead(graph);
  return changed;
}

}  // namespace ipex_quant::passes
