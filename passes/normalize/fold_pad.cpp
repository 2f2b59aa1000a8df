/// \file
/// Implements fold_pad.
#include "passes/normalize/fold_pad.h"

#include <algorithm>

#include "passes/ir.h"
#include "passes/normalize/conv_node.h"

namespace ipex_quant::passes {

namespace {

using Ints = std::vector<std::int64_t>;

/// Begins and ends per spatial dimension, first dimension first, of a zero pad that touches nothing
/// else.
std::optional<std::pair<Ints, Ints>> read_zero_pad(const Node* pad, std::size_t dims) {
  if (!is_op(pad, {"aten::constant_pad_nd", "aten::pad"})) {
    return std::nullopt;
  }
  const bool has_mode = is_op(pad, {"aten::pad"});
  if (has_mode && constant_string(pad->input(2)) != std::optional<std::string>("constant")) {
    return std::nullopt;
  }
  const Value* value = pad->input(has_mode ? 3 : 2);
  const auto sizes = constant_ints(pad->input(1));
  if (!sizes || sizes->size() % 2 != 0 || sizes->size() > 2 * dims ||
      (!is_none(value) && constant_number(value) != std::optional<double>(0.0)) ||
      std::any_of(sizes->begin(), sizes->end(), [](std::int64_t size) { return size < 0; })) {
    return std::nullopt;
  }
  Ints begins(dims, 0);
  Ints ends(dims, 0);
  for (std::size_t i = 0; i < sizes->size() / 2; ++i) {  // the list starts with the last dimension
    begins[dims - 1 - i] = (*sizes)[2 * i];
    ends[dims - 1 - i] = (*sizes)[2 * i + 1];
  }
  return std::make_pair(begins, ends);
}

bool fold(Graph& graph, Node* node, Node* pad, const ConvNode& conv) {
  const auto sizes = read_zero_pad(pad, conv.spatial_dims());
  if (!sizes) {
    return false;
  }
  auto [begins, ends] = *sizes;
  for (std::size_t i = 0; i < begins.size(); ++i) {
    begins[i] += conv.padding[i];
    ends[i] += conv.padding[i];
  }
  if (begins != ends) {
    return false;
  }
  const torch::jit::WithInsertPoint guard(node);
  node->replaceInput(0, pad->input(0));
  node->replaceInput(4, insert_constant(graph, begins));
  inherit(node, {pad});
  pad->destroy();
  return true;
}

}  // namespace

bool fold_pad(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for (Node* node : all_nodes(graph)) {
    if (!is_op(node, {"aten::conv1d", "aten::conv2d", "aten::conv3d"}) ||
        only_user(node->input(0)) != node) {
      continue;
    }
    const auto conv = read_conv(node);
    if (conv && conv->padding_mode.empty()) {
      changed = fold(*graph, node, node->input(0)->node(), *conv) || changed;
    }
  }
  if (changed) {
    remove_dead(graph);
  }
  return changed;
}

}  // namespace ipex_quant::passes
