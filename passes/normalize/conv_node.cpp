/// \file
/// Implements reading and writing of convolution nodes.
#include "passes/normalize/conv_node.h"

#include <algorithm>

namespace ipex_quant::passes {

namespace {

bool is_transposed_op(const Node* node) {
  return is_op(node,
               {"aten::conv_transpose1d", "aten::conv_transpose2d", "aten::conv_transpose3d"});
}

/// Spatial dimensions by the operator's name, its weight or its longest list; 0 when unknown.
std::size_t count_spatial_dims(const Node* node, const ConvNode& conv) {
  if (is_canonical_conv_op(node)) {
    const std::string name = node->kind().toUnqualString();
    return static_cast<std::size_t>(name[name.size() - 2] - '0');
  }
  if (const auto weight = constant_tensor(conv.weight)) {
    return static_cast<std::size_t>(weight->dim() - 2);
  }
  return std::max({conv.stride.size(), conv.padding.size(), conv.dilation.size()});
}

/// Repeats a single entry for each dimension. False when the length fits neither.
bool expand(std::vector<std::int64_t>& list, std::size_t length) {
  if (list.size() == 1) {
    list.resize(length, list[0]);
  }
  return list.size() == length;
}

bool read_ints(const Node* node, const char* name, std::vector<std::int64_t>& into) {
  const Value* value = argument(node, name);
  if (value == nullptr) {
    return true;
  }
  const auto list = constant_ints(value);
  const auto number = constant_int(value);
  if (!list && !number) {
    return false;
  }
  into = list ? *list : std::vector<std::int64_t>{*number};
  return true;
}

}  // namespace

bool is_canonical_conv_op(const Node* node) {
  return is_op(node, {"aten::conv1d", "aten::conv2d", "aten::conv3d"}) || is_transposed_op(node);
}

bool is_conv(const Node* node) {
  return is_canonical_conv_op(node) ||
         is_op(node, {"aten::_convolution", "aten::_convolution_mode", "aten::convolution"});
}

std::optional<ConvNode> read_conv(const Node* node) {
  ConvNode conv;
  conv.input = argument(node, "input");
  conv.weight = argument(node, "weight");
  conv.bias = argument(node, "bias");
  if (conv.input == nullptr || conv.weight == nullptr || conv.bias == nullptr) {
    return std::nullopt;
  }
  conv.transposed = is_transposed_op(node);
  if (const Value* transposed = argument(node, "transposed")) {
    const auto flag = constant_bool(transposed);
    if (!flag) {
      return std::nullopt;
    }
    conv.transposed = *flag;
  }
  const Value* groups = argument(node, "groups");
  const auto count = groups == nullptr ? std::nullopt : constant_int(groups);
  const Value* padding = argument(node, "padding");
  if (const auto word = padding == nullptr ? std::nullopt : constant_string(padding)) {
    conv.padding_mode = *word;
  } else if (!read_ints(node, "padding", conv.padding)) {
    return std::nullopt;
  }
  if (!count || !read_ints(node, "stride", conv.stride) ||
      !read_ints(node, "dilation", conv.dilation) ||
      !read_ints(node, "output_padding", conv.output_padding)) {
    return std::nullopt;
  }
  conv.groups = *count;
  const std::size_t dims = count_spatial_dims(node, conv);
  if (!conv.transposed) {
    conv.output_padding.clear();
  }
  const bool fits = dims >= 1 && dims <= 3 && expand(conv.stride, dims) &&
                    expand(conv.dilation, dims) &&
                    (!conv.padding_mode.empty() || expand(conv.padding, dims)) &&
                    (!conv.transposed || expand(conv.output_padding, dims));
  return fits ? std::make_optional(conv) : std::nullopt;
}

Node* insert_conv(Graph& graph, const ConvNode& conv) {
  const std::string name = (conv.transposed ? "aten::conv_transpose" : "aten::conv") +
                           std::to_string(conv.spatial_dims()) + "d";
  std::vector<Value*> inputs = {conv.input, conv.weight, conv.bias,
                                insert_constant(graph, conv.stride),
                                insert_constant(graph, conv.padding)};
  if (conv.transposed) {
    inputs.push_back(insert_constant(graph, conv.output_padding));
    inputs.push_back(insert_constant(graph, conv.groups));
    inputs.push_back(insert_constant(graph, conv.dilation));
  } else {
    inputs.push_back(insert_constant(graph, conv.dilation));
    inputs.push_back(insert_constant(graph, conv.groups));
  }
  return graph.insertNode(graph.create(c10::Symbol::fromQualString(name), inputs));
}

}  // namespace ipex_quant::passes
