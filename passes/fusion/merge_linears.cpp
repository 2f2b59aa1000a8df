// Implements merge_linears.
#include "passes/fusion/merge_linears.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/passes/common_subexpression_elimination.h>

#include <cstdio>
#include <map>

#include "passes/ir.h"

namespace ipex_quant::passes {

namespace {

/// linear_prepack(weight, weight_scale, bias, x_scale, x_zero_point, epilogue)
enum Input : std::size_t { kWeight, kWeightScale, kBias, kXScale, kXZeroPoint, kEpilogue };

/// A linear that can be merged.
struct Linear {
  Node* run;
  at::Tensor weight;  ///< int8 [n, k]
  at::Tensor scale;   ///< float32 [n]
  at::Tensor bias;    ///< float32 [n]
  double out_scale;
  int out_zero_point;

  Node* prepack() const { return run->input(1)->node(); }
};

/// The int8 weight behind quantize_weight of constants.
std::optional<at::Tensor> weight_of(const Value* value) {
  const Node* node = value->node();
  if (!is_op(node, {"ipex_quant::quantize_weight"})) return constant_tensor(value);
  torch::jit::Stack stack;
  for (const Value* input : node->inputs()) {
    const auto constant = constant_of(input);
    if (!constant) return std::nullopt;
    stack.push_back(*constant);
  }
  const at::NoGradGuard no_grad;
  node->getOperation()(stack);
  return stack.at(0).toTensor();
}

std::optional<Linear> linear_of(Node* run) {
  if (!is_op(run, {"ipex_quant::linear"}) ||
      !made_by(run->input(1), {"ipex_quant::linear_prepack"}))
    return std::nullopt;
  const Node* prepack = run->input(1)->node();
  const auto epilogue = constant_string(prepack->input(kEpilogue));
  Linear linear{run, {}, {}, {}, 0, 0};
  int length = 0;
  if (!epilogue || std::sscanf(epilogue->c_str(), "quantize(%lf,%d)%n", &linear.out_scale,
                               &linear.out_zero_point, &length) != 2) {
    return std::nullopt;
  }
  if (static_cast<std::size_t>(length) != epilogue->size()) return std::nullopt;
  const auto weight = weight_of(prepack->input(kWeight));
  const auto scale = constant_tensor(prepack->input(kWeightScale));
  const auto bias = constant_tensor(prepack->input(kBias));
  if (!weight || !scale || !(bias || is_none(prepack->input(kBias)))) return std::nullopt;
  const std::int64_t n = weight->size(0);
  linear.weight = *weight;
  linear.scale = scale->expand({n});
  linear.bias = bias ? *bias : at::zeros({n});
  return linear;
}

/// What two linears must have in common: block, input and its quantization.
using Key = std::tuple<const Block*, const Value*, double, double>;

std::optional<Key> key_of(const Node* run) {
  const Node* prepack = run->input(1)->node();
  const auto scale = constant_number(prepack->input(kXScale));
  const auto zero_point = constant_number(prepack->input(kXZeroPoint));
  if (!scale || !zero_point) return std::nullopt;
  return Key{run->owningBlock(), run->input(0), *scale, *zero_point};
}

void merge(Graph& graph, const std::vector<Linear>& linears) {
  const Linear& first = linears[0];
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> scales;
  std::vector<at::Tensor> biases;
  std::vector<std::int64_t> sizes;
  for (const Linear& linear : linears) {
    // In double, so that the merged constants are rounded once.
    const double ratio = first.out_scale / linear.out_scale;
    const double shift = first.out_scale * (linear.out_zero_point - first.out_zero_point);
    weights.push_back(linear.weight);
    scales.push_back((linear.scale.to(at::kDouble) * ratio).to(at::kFloat));
    biases.push_back((linear.bias.to(at::kDouble) * ratio + shift).to(at::kFloat));
    sizes.push_back(linear.weight.size(0));
  }
  const torch::jit::WithInsertPoint guard(first.run);
  std::vector<Value*> inputs = first.prepack()->inputs().vec();
  inputs[kWeight] = insert_constant(graph, at::cat(weights));
  inputs[kWeightScale] = insert_constant(graph, at::cat(scales));
  inputs[kBias] = insert_constant(graph, at::cat(biases));
  Value* packed = insert_call(graph, "ipex_quant::linear_prepack", inputs);
  Value* y =
      insert_call(graph, "ipex_quant::linear", {first.run->input(0), packed, first.run->input(2)});
  Value* list = insert_call(graph, "aten::split_with_sizes",
                            {y, insert_constant(graph, sizes), insert_constant(graph, -1)});
  Node* parts = graph.insertNode(graph.createListUnpack(list, linears.size()));
  std::vector<std::int64_t> anchors;
  for (std::size_t i = 0; i < linears.size(); ++i) {
    Node* run = linears[i].run;
    inherit(y->node(), {run});
    if (run->hasAttribute(anchor_attr())) {
      const auto& more = run->is(anchor_attr());
      anchors.insert(anchors.end(), more.begin(), more.end());
    }
    replace_value(run->output(), parts->output(i));
  }
  if (!anchors.empty()) y->node()->is_(anchor_attr(), anchors);
  y->node()->s_(c10::Symbol::attr("iq_epilogue"), constant_string(inputs[kEpilogue]).value());
  for (const Linear& linear : linears) linear.run->destroy();
}

bool reads_tensors(const Node* run) {
  return !made_by(run->input(2), {"prim::ListConstruct"}) ||
         !run->input(2)->node()->inputs().empty();
}

}  // namespace

bool merge_linears(const std::shared_ptr<Graph>& graph) {
  // Each reader of moved data (windows, heads) may have a movement of its own.
  torch::jit::EliminateCommonSubexpression(graph);
  std::map<Key, std::vector<Linear>> groups;
  std::vector<Key> order;
  for (Node* node : all_nodes(graph)) {
    auto linear = linear_of(node);
    if (!linear || reads_tensors(node)) continue;
    const auto key = key_of(node);
    if (!key) continue;
    auto& group = groups[*key];
    if (group.empty()) order.push_back(*key);
    if (group.empty() || group[0].weight.size(1) == linear->weight.size(1)) {
      group.push_back(std::move(*linear));
    }
  }
  bool changed = false;
  for (const Key& key : order) {
    const auto& group = groups[key];
    if (group.size() < 2) continue;
    merge(*graph, group);
    changed = true;
  }
  if (changed) remove_dead(graph);
  return changed;
}

}  // namespace ipex_quant::passes
