// Implements quantize_weights.
#include "passes/quant/quantize_weights.h"

#include <ATen/ATen.h>

#include "kernels/recurrent/recurrent.h"
#include "passes/ir.h"
#include "passes/normalize/channel_affine.h"
#include "passes/normalize/rank.h"
#include "passes/quant/capability.h"

namespace ipex_quant::passes {

namespace {

using torch::jit::WithInsertPoint;

constexpr double kMaxCode = 127;

at::Tensor scales_from_weight(const at::Tensor& weight, std::int64_t axis) {
  const at::Tensor rows = weight.transpose(0, axis).flatten(1).abs();
  const at::Tensor largest = std::get<0>(rows.max(1));
  // A channel of zeros has any scale.
  return at::where(largest > 0, largest / kMaxCode, at::ones_like(largest));
}

at::Tensor scales_of(const OperandParams* params, const at::Tensor& weight, std::int64_t axis,
                     const SiteParams& site, const std::string& name) {
  if (params == nullptr || !params->scales.defined()) return scales_from_weight(weight, axis);
  const at::Tensor scales = params->scales.to(at::kFloat).flatten().contiguous();
  TORCH_CHECK(scales.numel() == 1 || scales.numel() == weight.size(axis), "site '", site.site,
              "', operand '", name, "': got ", scales.numel(), " scales, expected 1 or ",
              weight.size(axis));
  TORCH_CHECK(at::logical_and(at::isfinite(scales), scales > 0).all().item<bool>(), "site '",
              site.site, "', operand '", name, "': a scale is zero, negative or not finite");
  return scales;
}

Value* insert_weight_pair(Graph& graph, const at::Tensor& weight, const at::Tensor& scales,
                          std::int64_t axis) {
  Value* float_weight = insert_constant(graph, weight);
  Value* scale = insert_constant(graph, scales);
  Value* dim = insert_constant(graph, axis);
  Value* q = insert_call(graph, "ipex_quant::quantize_weight", {float_weight, scale, dim});
  return insert_call(graph, "ipex_quant::dequantize_weight", {q, scale, dim});
}

/// Multiplies the input channels of a weight: W' = W * f, so that W' (x / f) = W x.
at::Tensor times_factor(const Node* node, const at::Tensor& weight, const at::Tensor& factor,
                        const SiteParams& site) {
  const at::Tensor f = factor.to(at::kFloat).flatten();
  if (kernel_of(node) != Kernel::kConv) {
    TORCH_CHECK(f.numel() == weight.size(1), "site '", site.site, "': got ", f.numel(),
                " channel factors, expected ", weight.size(1));
    return weight * f;
  }
  if (is_transposed_conv(node)) {
    std::vector<std::int64_t> shape(static_cast<std::size_t>(weight.dim()), 1);
    shape[0] = f.numel();
    return weight * f.reshape(shape);
  }
  // Output channels of group g read the input channels g * C .. (g + 1) * C - 1.
  const std::int64_t per_group = weight.size(1);
  TORCH_CHECK(f.numel() % per_group == 0 && weight.size(0) % (f.numel() / per_group) == 0, "site '",
              site.site, "': got ", f.numel(), " channel factors, not a multiple of ", per_group);
  const std::int64_t groups = f.numel() / per_group;
  at::Tensor rows = f.reshape({groups, 1, per_group})
                        .expand({groups, weight.size(0) / groups, per_group})
                        .reshape({weight.size(0), per_group});
  for (std::int64_t dim = 2; dim < weight.dim(); ++dim) rows = rows.unsqueeze(-1);
  return weight * rows;
}

void correct_bias(Graph& graph, Node* node, const SiteParams& site, std::int64_t out_channels) {
  if (!site.bias_correction.defined()) return;
  at::Tensor bias = site.bias_correction.to(at::kFloat).flatten();
  TORCH_CHECK(bias.numel() == out_channels, "site '", site.site, "': bias correction has ",
              bias.numel(), " values, expected ", out_channels);
  if (const auto old = constant_tensor(node->input(kBiasIndex))) bias = *old + bias;
  node->replaceInput(kBiasIndex, insert_constant(graph, bias));
}

const at::Tensor* factor_of(const SiteParams& site) {
  const OperandParams* input = site.operand("input");
  return input != nullptr && input->channel_factor.defined() ? &input->channel_factor : nullptr;
}

void quantize_one(Graph& graph, Node* node, const SiteParams& site) {
  Value* value = weight_of(node);
  at::Tensor weight = constant_tensor(value).value();
  const std::int64_t axis = weight_axis(node);
  if (const at::Tensor* factor = factor_of(site))
    weight = times_factor(node, weight, *factor, site);
  const at::Tensor scales = scales_of(site.operand("weight"), weight, axis, site, "weight");
  const bool table =
      kernel_of(node) == Kernel::kEmbedding || kernel_of(node) == Kernel::kEmbeddingBag;
  node->replaceInput(table ? 0 : 1, insert_weight_pair(graph, weight, scales, axis));
  if (table) return;
  std::int64_t out_channels = weight.size(axis);
  if (is_transposed_conv(node)) {
    out_channels *= constant_int(argument(node, "groups")).value();
  }
  correct_bias(graph, node, site, out_channels);
}

/// x -> [x, x / 128]
void append_small_copy(Graph& graph, Node* node) {
  Value* x = node->input(0);
  Value* factor = insert_constant(graph, kSmallCopy);
  Value* small = insert_call(graph, "aten::mul", {x, factor});
  Node* list = graph.insertNode(graph.createList(c10::TensorType::get(), {x, small}));
  Value* last = insert_constant(graph, std::int64_t{-1});
  node->replaceInput(0, insert_call(graph, "aten::cat", {list->output(), last}));
}

/// The weights of an lstm or gru come as one list: per layer and direction w_ih, w_hh, b_ih, b_hh.
void quantize_recurrent(Graph& graph, Node* node, const SiteParams& site) {
  const std::size_t index = recurrent_weights_index(node);
  Value* list = node->input(index);
  std::vector<at::Tensor> params;
  if (const auto constant = constant_of(list)) {
    params = constant->toTensorVector();
  } else {
    for (const Value* value : list->node()->inputs()) params.push_back(*constant_tensor(value));
  }
  const bool both = constant_bool(argument(node, "bidirectional")).value();
  const std::size_t per_cell = constant_bool(argument(node, "has_biases")).value() ? 4 : 2;
  const OperandParams* input = site.operand("input");
  const bool splits = input != nullptr && input->mode == "dynamic" &&
                      splits_input_weight(params.at(0).size(1), params.at(1).size(1));
  if (splits) append_small_copy(graph, node);
  std::vector<Value*> values;
  for (std::size_t i = 0; i < params.size(); ++i) {
    if (params[i].dim() != 2) {
      values.push_back(insert_constant(graph, params[i]));
      continue;
    }
    at::Tensor weight = params[i];
    const bool first_layer_input = i % per_cell == 0 && i < per_cell * (both ? 2 : 1);
    const at::Tensor* factor = factor_of(site);
    if (first_layer_input && factor != nullptr) weight = times_factor(node, weight, *factor, site);
    const std::string name = "weights." + std::to_string(i);
    const at::Tensor scales = scales_of(site.operand(name), weight, 0, site, name);
    if (first_layer_input && splits) weight = split_input_weight(weight, scales);
    values.push_back(insert_weight_pair(graph, weight, scales, 0));
  }
  Node* pack = graph.insertNode(graph.createList(c10::TensorType::get(), values));
  node->replaceInput(index, pack->output());
}

}  // namespace

void quantize_batch_norm(Graph& graph, Node* node) {
  const WithInsertPoint guard(node);
  const ChannelAffine affine = read_batch_norm(node).value();
  const auto spatial = static_cast<std::size_t>(rank_of(node->input(0)).value() - 2);
  std::vector<std::int64_t> shape(spatial + 2, 1);
  shape[0] = affine.factor.numel();
  const at::Tensor weight = affine.factor.to(at::kFloat).reshape(shape);
  const auto list = [&](std::int64_t value) {
    return insert_constant(graph, std::vector<std::int64_t>(spatial, value));
  };
  Value* pair = insert_weight_pair(graph, weight, scales_from_weight(weight, 0), 0);
  const std::string op = "aten::conv" + std::to_string(spatial) + "d";
  Value* y = insert_call(graph, op.c_str(),
                         {node->input(0), pair, insert_constant(graph, affine.shift.to(at::kFloat)),
                          list(1), list(0), list(1), insert_constant(graph, shape[0])});
  inherit(y->node(), {node});
  replace_node(node, y);
}

bool splits_input_weight(std::int64_t input_size, std::int64_t units) {
  return kernels::run_time_mode(2 * input_size, units) == kernels::InputMode::kRows16;
}

at::Tensor split_input_weight(const at::Tensor& weight, const at::Tensor& scales) {
  const at::Tensor column = scales.reshape({-1, 1});
  const at::Tensor rounded = (weight / column).round().clamp(-kMaxCode, kMaxCode) * column;
  return at::cat({rounded, (weight - rounded) / kSmallCopy}, 1);
}

at::Tensor factor_for_input(const Node* node, const at::Tensor& factor) {
  const at::Tensor inverse = factor.to(at::kFloat).flatten().reciprocal();
  if (kernel_of(node) != Kernel::kConv) return inverse;
  const auto weight = weight_of(node);
  // The weight may already stand behind a pair: its rank is that of the constant.
  const Value* source = weight;
  while (source->node()->kind() != c10::prim::Constant) source = source->node()->input(0);
  std::vector<std::int64_t> shape(static_cast<std::size_t>(constant_tensor(source)->dim()), 1);
  shape[1] = inverse.numel();
  return inverse.reshape(shape);
}

void quantize_weights(Graph& graph, Node* node, const SiteParams& site) {
  const WithInsertPoint guard(node);
  if (kernel_of(node) == Kernel::kRecurrent) {
    quantize_recurrent(graph, node, site);
  } else {
    quantize_one(graph, node, site);
  }
}

}  // namespace ipex_quant::passes
