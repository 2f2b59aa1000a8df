/// \file
/// Implements fold_batch_norm.
#include "passes/normalize/fold_batch_norm.h"

#include <ATen/TensorOperators.h>

#include <algorithm>

#include "passes/normalize/channel_affine.h"
#include "passes/normalize/conv_node.h"
#include "passes/normalize/rank.h"

namespace ipex_quant::passes {

c10::Symbol weight_factor_attr() { return c10::Symbol::attr("iq_weight_factor"); }

namespace {

/// The weight [out, in/g, k...] or, transposed, [in, out/g, k...] times a factor per output
/// channel.
at::Tensor scale_channels(const at::Tensor& weight, const at::Tensor& factor,
                          const ConvNode* conv) {
  if (conv == nullptr || !conv->transposed) {
    std::vector<std::int64_t> shape(static_cast<std::size_t>(weight.dim()), 1);
    shape[0] = -1;
    return weight * factor.view(shape);
  }
  // Output channel c of a grouped deconvolution is channel c % (out/g) of group c / (out/g).
  std::vector<std::int64_t> grouped = weight.sizes().vec();
  grouped[0] /= conv->groups;
  grouped.insert(grouped.begin(), conv->groups);
  std::vector<std::int64_t> shape(grouped.size(), 1);
  shape[0] = conv->groups;
  shape[2] = grouped[2];
  return (weight.view(grouped) * factor.view(shape)).reshape(weight.sizes());
}

std::int64_t out_channels(const at::Tensor& weight, const ConvNode* conv) {
  return conv != nullptr && conv->transposed ? weight.size(1) * conv->groups : weight.size(0);
}

/// Whether an operator makes rows of its input: [..., channels] to [rows, channels].
bool makes_rows(const Node* node) {
  if (!is_op(node, {"aten::flatten"})) return false;
  const auto rank = rank_of(node->input(0));
  const auto is_dim = [&rank](const Value* value, std::int64_t wanted) {
    const auto dim = constant_int(value);
    return rank && dim && (*dim < 0 ? *dim + *rank : *dim) == wanted;
  };
  return rank && is_dim(node->input(1), 0) && is_dim(node->input(2), *rank - 2);
}

/// The output of a layer that a batch norm normalises: for a linear, rows may be made of it.
Value* output_of_layer(Value* input) {
  Node* node = input->node();
  const bool is_rows =
      makes_rows(node) && made_by(node->input(0), {"aten::linear"}) && only_user(input) != nullptr;
  return is_rows ? node->input(0) : input;
}

/// Whether only one node reads what a value holds; others may ask for its shape.
bool is_read_once(const Value* value) {
  const auto& uses = value->uses();
  return std::count_if(uses.begin(), uses.end(), [](const auto& use) {
           const bool asks_shape =
               is_op(use.user, {"aten::size"}) ||
               (use.offset == 1 && is_op(use.user, {"aten::reshape_as", "aten::view_as"}));
           return !asks_shape;
         }) == 1;
}

/// Why the pair cannot be folded; "" when it can.
std::string refuse(const Node* layer, const Node* norm, const ConvNode* conv,
                   const ChannelAffine& affine) {
  const auto weight = constant_tensor(layer->input(1));
  if (!weight || (!is_none(layer->input(2)) && !constant_tensor(layer->input(2)))) {
    return "the weight before the batch_norm is not constant";
  }
  if (out_channels(*weight, conv) != affine.factor.size(0)) {
    return "batch_norm normalises another dimension than the layer before it makes";
  }
  if (conv == nullptr && rank_of(norm->input(0)) != std::optional<std::int64_t>(2)) {
    return "batch_norm after a linear layer whose output is not known to have two dimensions";
  }
  return "";
}

void fold(Graph& graph, Node* layer, Node* norm, const ConvNode* conv,
          const ChannelAffine& affine) {
  const at::Tensor weight = *constant_tensor(layer->input(1));
  const at::Tensor folded = scale_channels(weight.to(at::kDouble), affine.factor, conv);
  at::Tensor bias = affine.shift;
  if (const auto old = constant_tensor(layer->input(2))) {
    bias = old->to(at::kDouble) * affine.factor + affine.shift;
  }
  const torch::jit::WithInsertPoint guard(layer);
  layer->replaceInput(1, insert_constant(graph, folded.to(weight.scalar_type()).contiguous()));
  layer->replaceInput(2, insert_constant(graph, bias.to(weight.scalar_type())));
  at::Tensor factor = affine.factor.to(at::kFloat);
  if (layer->hasAttribute(weight_factor_attr())) {
    factor = factor * layer->t(weight_factor_attr());
  }
  layer->t_(weight_factor_attr(), factor);
  inherit(layer, {norm});
  replace_node(norm, norm->input(0));
}

}  // namespace

bool fold_batch_norm(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for_each_node(graph->block(), [&](Node* norm) {
    if (!is_op(norm, {"aten::batch_norm"})) {
      return;
    }
    Value* input = output_of_layer(norm->input(0));
    Node* layer = input->node();
    if (!is_canonical_conv_op(layer) && !is_op(layer, {"aten::linear"})) {
      return;
    }
    const auto affine = read_batch_norm(norm);
    const auto conv = is_canonical_conv_op(layer) ? read_conv(layer) : std::nullopt;
    if (!is_read_once(input) || !affine || (is_canonical_conv_op(layer) && !conv)) {
      set_reason(norm,
                 "batch_norm is not the only user of the layer before it, or is not constant");
      return;
    }
    const ConvNode* conv_node = conv ? &*conv : nullptr;
    const std::string reason = refuse(layer, norm, conv_node, *affine);
    if (!reason.empty()) {
      set_reason(norm, reason);
      return;
    }
    fold(*graph, layer, norm, conv_node, *affine);
    changed = true;
  });
  if (changed) {
    remove_dead(graph);
  }
  return changed;
}

}  // namespace ipex_quant::passes
