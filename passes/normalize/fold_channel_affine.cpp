/// \file
/// Implements fold_channel_affine.
#include "passes/normalize/fold_channel_affine.h"

#include <ATen/ATen.h>

#include "passes/normalize/channel_affine.h"
#include "passes/normalize/rank.h"

namespace ipex_quant::passes {

namespace {

constexpr std::size_t kWeight = 1;
constexpr std::size_t kBias = 2;

/// A constant as one value per channel of the layer's output, in double; nothing when it differs
/// along other dimensions.
std::optional<at::Tensor> per_channel(const Value* value, std::int64_t channels,
                                      std::int64_t rank) {
  if (const auto number = constant_number(value)) return at::full({channels}, *number, at::kDouble);
  const auto tensor = constant_tensor(value);
  if (!tensor || tensor->numel() != channels || tensor->dim() > rank) return std::nullopt;
  if (!tensor->is_floating_point()) return std::nullopt;
  if (channels == 1) return tensor->to(at::kDouble).flatten();
  // Dimension 1 of a convolution's [n, c, ...], the last of a linear layer's [..., c].
  const std::int64_t behind = rank > 2 ? rank - 2 : 0;
  const std::int64_t at = tensor->dim() - 1 - behind;
  if (at < 0 || tensor->size(at) != channels) return std::nullopt;
  return tensor->to(at::kDouble).flatten();
}

/// y = x * factor + shift of one node, x being its first operand.
std::optional<ChannelAffine> read(const Node* node, const Value* x, std::int64_t channels,
                                  std::int64_t rank) {
  if (is_op(node, {"aten::batch_norm"})) {
    // Behind a linear layer it normalizes the last dimension only where there are two.
    if (rank == 2 && rank_of(x) != std::optional<std::int64_t>(2)) return std::nullopt;
    const auto found = read_batch_norm(node);
    return found && found->factor.size(0) == channels ? found : std::nullopt;
  }
  if (!is_op(node, {"aten::add", "aten::sub", "aten::mul", "aten::div"})) return std::nullopt;
  if (node->input(0) != x || node->inputs().size() > 3) return std::nullopt;
  const auto other = per_channel(node->input(1), channels, rank);
  if (!other) return std::nullopt;
  const at::Tensor zeros = at::zeros_like(*other);
  if (is_op(node, {"aten::mul"})) return ChannelAffine{*other, zeros};
  if (is_op(node, {"aten::div"})) {
    if (node->inputs().size() > 2) return std::nullopt;  // it may round
    return ChannelAffine{other->reciprocal(), zeros};
  }
  const auto alpha = node->inputs().size() > 2 ? constant_number(node->input(2)) : 1.0;
  if (!alpha) return std::nullopt;
  const double sign = is_op(node, {"aten::sub"}) ? -*alpha : *alpha;
  return ChannelAffine{at::ones_like(*other), *other * sign};
}

bool fold(Graph& graph, Node* layer) {
  Node* weight = layer->input(kWeight)->node();
  const auto codes = constant_tensor(weight->input(0));
  const auto scales = constant_tensor(weight->input(1));
  const auto bias = constant_tensor(layer->input(kBias));
  if (!codes || !scales || (!bias && !is_none(layer->input(kBias)))) return false;
  if (constant_int(weight->input(2)) != std::int64_t{0} && scales->numel() > 1) return false;
  const std::int64_t channels = codes->size(0);
  std::vector<Node*> chain;
  ChannelAffine all{at::ones({channels}, at::kDouble), at::zeros({channels}, at::kDouble)};
  const Value* end = layer->output();
  while (Node* user = only_user(end)) {
    const auto step = read(user, end, channels, codes->dim());
    if (!step || user->owningBlock() != layer->owningBlock()) break;
    all = {all.factor * step->factor, all.shift * step->factor + step->shift};
    chain.push_back(user);
    end = user->output();
  }
  const bool good = at::logical_and(at::isfinite(all.factor), all.factor != 0).all().item<bool>() &&
                    at::isfinite(all.shift).all().item<bool>();
  if (chain.empty() || !good) return false;
  std::vector<std::int64_t> shape(static_cast<std::size_t>(codes->dim()), 1);
  shape[0] = channels;
  const at::Tensor negative = (all.factor < 0).view(shape);
  // -128 has no int8 code of the other sign.
  if (at::logical_and(negative, codes->eq(-128)).any().item<bool>()) return false;

  const torch::jit::WithInsertPoint guard(layer);
  const at::Tensor turned = at::where(negative, -*codes, *codes).contiguous();
  const at::Tensor scaled = (scales->to(at::kDouble) * all.factor.abs()).to(at::kFloat);
  Value* folded = insert_call(graph, "ipex_quant::dequantize_weight",
                              {insert_constant(graph, turned), insert_constant(graph, scaled),
                               insert_constant(graph, std::int64_t{0})});
  folded->node()->copyAttributes(*weight);
  at::Tensor shift = all.shift;
  if (bias) shift = bias->to(at::kDouble) * all.factor + shift;
  layer->replaceInput(kWeight, folded);
  layer->replaceInput(kBias, insert_constant(graph, shift.to(at::kFloat)));
  inherit(layer, chain);
  replace_value(chain.back()->output(), layer->output());
  for (auto node = chain.rbegin(); node != chain.rend(); ++node) (*node)->destroy();
  return true;
}

}  // namespace

bool fold_channel_affine(const std::shared_ptr<Graph>& graph) {
  std::vector<Node*> layers;
  for_each_node(graph->block(), [&layers](Node* node) {
    if (is_op(node, {"aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::linear"}) &&
        made_by(node->input(kWeight), {"ipex_quant::dequantize_weight"})) {
      layers.push_back(node);
    }
  });
  bool changed = false;
  for (Node* layer : layers) changed |= fold(*graph, layer);
  if (changed) remove_dead(graph);
  return changed;
}

}  // namespace ipex_quant::passes
