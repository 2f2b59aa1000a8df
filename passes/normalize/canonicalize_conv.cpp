/// \file
/// Implements canonicalize_conv.
#include "passes/normalize/canonicalize_conv.h"

#include "passes/ir.h"
#include "passes/normalize/conv_node.h"

namespace ipex_quant::passes {

namespace {

bool is_constant_list(const Value* value) {
  const auto constant = constant_of(value);
  return constant && constant->isIntList();
}

bool is_canonical(const Node* node, const ConvNode& conv) {
  if (!is_canonical_conv_op(node) || !conv.padding_mode.empty()) {
    return false;
  }
  for (const char* name : {"stride", "padding", "dilation", "output_padding"}) {
    const Value* list = argument(node, name);
    if (list != nullptr &&
        (!is_constant_list(list) || constant_ints(list)->size() != conv.spatial_dims())) {
      return false;
    }
  }
  return true;
}

/// Replaces the padding word by numbers, as at::native::_convolution_mode does. False when the
/// kernel size is unknown.
bool resolve_padding(Graph& graph, ConvNode& conv, const Node* node) {
  if (conv.padding_mode.empty()) {
    return true;
  }
  const std::size_t dims = conv.spatial_dims();
  conv.padding.assign(dims, 0);
  if (conv.padding_mode == "same") {
    const auto weight = constant_tensor(conv.weight);
    if (!weight) {
      return false;
    }
    std::vector<std::int64_t> rest(2 * dims,
                                   0);  // constant_pad_nd: last dimension first, begin and end
    bool uneven = false;
    for (std::size_t i = 0; i < dims; ++i) {
      const std::int64_t total =
          conv.dilation[i] * (weight->size(static_cast<std::int64_t>(i) + 2) - 1);
      conv.padding[i] = total / 2;
      rest[2 * (dims - 1 - i) + 1] = total % 2;
      uneven = uneven || total % 2 != 0;
    }
    if (uneven) {
      conv.input =
          insert_call(graph, "aten::constant_pad_nd",
                      {conv.input, insert_constant(graph, rest), insert_constant(graph, 0)});
      add_ids(conv.input->node(), ids_of(node));
    }
  }
  conv.padding_mode.clear();
  return true;
}

}  // namespace

bool canonicalize_conv(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for (Node* node : all_nodes(graph)) {
    if (!is_conv(node)) {
      continue;
    }
    auto conv = read_conv(node);
    if (conv && is_canonical(node, *conv)) {
      continue;
    }
    const torch::jit::WithInsertPoint guard(node);
    if (!conv || !resolve_padding(*graph, *conv, node)) {
      set_reason(node,
                 "the convolution's stride, padding, dilation or kernel size is not constant");
      continue;
    }
    Node* canonical = insert_conv(*graph, *conv);
    inherit(canonical, {node});
    replace_node(node, canonical->output());
    changed = true;
  }
  if (changed) {
    remove_dead(graph);
  }
  return changed;
}

}  // namespace ipex_quant::passes
