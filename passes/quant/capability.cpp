// The limits of each int8 kernel, as questions about a node's arguments.
#include "passes/quant/capability.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "passes/ir.h"
#include "passes/normalize/rank.h"

namespace ipex_quant::passes {

namespace {

const std::unordered_map<std::string, Kernel>& kernels() {
  // clang-format off
  static const std::unordered_map<std::string, Kernel> kKernels = {
      {"aten::conv1d", Kernel::kConv},            {"aten::conv2d", Kernel::kConv},
      {"aten::conv3d", Kernel::kConv},            {"aten::conv_transpose1d", Kernel::kConv},
      {"aten::conv_transpose2d", Kernel::kConv},  {"aten::conv_transpose3d", Kernel::kConv},
      {"aten::linear", Kernel::kLinear},          {"aten::matmul", Kernel::kMatmul},
      {"aten::mm", Kernel::kMatmul},              {"aten::bmm", Kernel::kMatmul},
      {"aten::lstm", Kernel::kRecurrent},         {"aten::gru", Kernel::kRecurrent},
      {"aten::embedding", Kernel::kEmbedding},
      {"aten::embedding_bag", Kernel::kEmbeddingBag},
      {"aten::cat", Kernel::kCat},                {"aten::concat", Kernel::kCat},
      {"aten::stack", Kernel::kStack},
      {"aten::avg_pool1d", Kernel::kPool},        {"aten::avg_pool2d", Kernel::kPool},
      {"aten::avg_pool3d", Kernel::kPool},        {"aten::adaptive_avg_pool1d", Kernel::kPool},
      {"aten::adaptive_avg_pool2d", Kernel::kPool},
      {"aten::adaptive_avg_pool3d", Kernel::kPool},
      {"aten::mean", Kernel::kPool},
      {"aten::relu", Kernel::kUnary},             {"aten::relu6", Kernel::kUnary},
      {"aten::hardtanh", Kernel::kUnary},         {"aten::clamp", Kernel::kUnary},
      {"aten::clamp_min", Kernel::kUnary},        {"aten::clamp_max", Kernel::kUnary},
      {"aten::sigmoid", Kernel::kUnary},          {"aten::tanh", Kernel::kUnary},
      {"aten::gelu", Kernel::kUnary},             {"aten::silu", Kernel::kUnary},
      {"aten::hardswish", Kernel::kUnary},        {"aten::hardsigmoid", Kernel::kUnary},
      {"aten::leaky_relu", Kernel::kUnary},       {"aten::elu", Kernel::kUnary},
      {"aten::mish", Kernel::kUnary},             {"aten::softplus", Kernel::kUnary},
      {"aten::log_sigmoid", Kernel::kUnary},      {"aten::selu", Kernel::kUnary},
      {"aten::celu", Kernel::kUnary},
      {"ipex_quant::function", Kernel::kUnary},
      {"aten::batch_norm", Kernel::kBatchNorm},
  };
  // clang-format on
  return kKernels;
}

bool is_one_number(const Value* value) { return constant_number(value).has_value(); }

bool is_float_tensor(const Value* value) {
  const auto tensor = constant_tensor(value);
  return tensor && tensor->scalar_type() == at::kFloat;
}

std::string refuse_unless(bool condition, const char* reason) { return condition ? "" : reason; }

std::string refuse_weight(const Value* weight, std::int64_t min_rank, std::int64_t max_rank) {
  const auto tensor = constant_tensor(weight);
  if (!tensor) return "its weight is not a constant";
  if (tensor->scalar_type() != at::kFloat) return "its weight is not float32";
  if (tensor->dim() < min_rank || tensor->dim() > max_rank) return "the rank of its weight";
  return refuse_unless(tensor->numel() > 0, "its weight is empty");
}

std::string refuse_bias(const Value* bias) {
  return refuse_unless(is_none(bias) || is_float_tensor(bias),
                       "its bias is not a float32 constant");
}

std::string refuse_conv(const Node* node) {
  std::string reason = refuse_weight(weight_of(node), 3, 5);
  if (reason.empty()) reason = refuse_bias(node->input(kBiasIndex));
  if (!reason.empty()) return reason;
  for (std::size_t i = kBiasIndex + 1; i < node->inputs().size(); ++i) {
    if (constant_string(node->input(i))) return "its padding is given by name";
    if (!constant_ints(node->input(i)) && !constant_int(node->input(i))) {
      return "its arguments are not constants";
    }
  }
  return "";
}

std::string refuse_linear(const Node* node) {
  const std::string reason = refuse_weight(weight_of(node), 2, 2);
  return reason.empty() ? refuse_bias(node->input(kBiasIndex)) : reason;
}

std::string refuse_recurrent(const Node* node) {
  const auto biases = constant_bool(argument(node, "has_biases"));
  const auto layers = constant_int(argument(node, "num_layers"));
  const auto dropout = constant_number(argument(node, "dropout"));
  const auto train = constant_bool(argument(node, "train"));
  const auto both = constant_bool(argument(node, "bidirectional"));
  const Value* batch_first = argument(node, "batch_first");
  if (!biases || !layers || !dropout || !train || !both ||
      (batch_first != nullptr && !constant_bool(batch_first))) {
    return "its arguments are not constants";
  }
  if (*train && *dropout != 0) return "it has dropout in training mode";
  const Value* states = argument(node, "hx");
  const bool listed = made_by(states, {"prim::ListConstruct"});
  if (is_op(node, {"aten::lstm"}) && !listed && !constant_of(states)) {
    return "its initial state is made elsewhere";
  }
  const std::int64_t per_cell = *biases ? 4 : 2;
  const auto expected = static_cast<std::size_t>(*layers * (*both ? 2 : 1) * per_cell);
  std::vector<at::Tensor> params;
  const Value* weights = node->input(recurrent_weights_index(node));
  if (const auto list = constant_of(weights); list && list->isTensorList()) {
    params = list->toTensorVector();
  } else if (made_by(weights, {"prim::ListConstruct"})) {
    for (const Value* value : weights->node()->inputs()) {
      const auto tensor = constant_tensor(value);
      if (!tensor) return "its weights are not constants";
      params.push_back(*tensor);
    }
  } else {
    return "its weights are not constants";
  }
  if (params.size() > expected) return "it has projections (proj_size)";
  if (params.size() < expected) return "it has fewer weights than its layers need";
  for (const at::Tensor& tensor : params) {
    if (tensor.scalar_type() != at::kFloat) return "its weights are not float32";
  }
  return "";
}

std::string refuse_embedding_bag(const Node* node) {
  for (std::size_t i = 1; i < node->outputs().size(); ++i) {
    if (node->output(i)->hasUses()) return "its offsets or bag sizes are used";
  }
  if (!constant_int(node->input(4)) || !constant_bool(node->input(7))) {
    return "its mode is not a constant";
  }
  const bool padded = node->inputs().size() > 8 && !is_none(node->input(8));
  if (padded && !constant_int(node->input(8))) return "its padding index is not a constant";
  return refuse_weight(node->input(0), 2, 2);
}

std::string refuse_binary(const Node* node) {
  if (node->inputs().size() > 2) {
    const auto alpha = constant_number(node->input(2));
    if (!alpha || *alpha != 1) return "its alpha is not 1";
  }
  return "";
}

std::string refuse_cat(const Node* node) {
  const Value* list = node->input(0);
  if (!made_by(list, {"prim::ListConstruct"})) return "its list is made elsewhere";
  if (list->uses().size() != 1) return "its list has other users";
  return refuse_unless(constant_int(node->input(1)).has_value(), "its dimension is not a constant");
}

std::string refuse_pool(const Node* node) {
  if (is_op(node, {"aten::mean"})) {
    if (node->inputs().size() != 4) return "it reduces to one number";
    if (!is_none(node->input(3))) return "it changes the dtype";
    const auto axes = constant_ints(node->input(1));
    return refuse_unless(axes && !axes->empty() && constant_bool(node->input(2)),
                         "its dimensions are not constants");
  }
  for (std::size_t i = 1; i < node->inputs().size(); ++i) {
    const Value* input = node->input(i);
    if (!constant_ints(input) && !constant_of(input)) return "its arguments are not constants";
  }
  return "";
}

/// batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn)
std::string refuse_batch_norm(const Node* node) {
  if (constant_bool(node->input(5)).value_or(true)) return "it takes the statistics of its input";
  for (const std::size_t i : {1, 2, 3, 4}) {
    const bool known = is_float_tensor(node->input(i)) || (i < 3 && is_none(node->input(i)));
    if (!known) return "its arguments are not float32 constants";
  }
  const auto rank = rank_of(node->input(0));
  return refuse_unless(rank && *rank >= 3 && *rank <= 5,
                       "the number of dimensions of its input is not known to be 3 to 5");
}

std::string refuse_unary(const Node* node) {
  for (std::size_t i = 1; i < node->inputs().size(); ++i) {
    const auto constant = constant_of(node->input(i));
    if (!constant) return "its arguments are not constants";
    if (constant->isTensor() && constant->toTensor().dim() > 0) return "it differs by element";
  }
  return "";
}

}  // namespace

Kernel kernel_of(const Node* node) {
  if (is_op(node, {"aten::add", "aten::sub", "aten::mul", "aten::div"})) {
    if (node->inputs().size() < 2) return Kernel::kNone;
    if (is_one_number(node->input(1))) return Kernel::kUnary;
    if (is_one_number(node->input(0)) || is_op(node, {"aten::div"})) return Kernel::kNone;
    return Kernel::kBinary;
  }
  const auto found = kernels().find(node->kind().toQualString());
  if (found == kernels().end()) return Kernel::kNone;
  const bool of_two = is_op(node, {"ipex_quant::function"}) && node->inputs().size() > 1;
  return of_two ? Kernel::kNone : found->second;
}

std::vector<std::pair<std::string, Kernel>> kernel_ops() {
  std::vector<std::pair<std::string, Kernel>> ops(kernels().begin(), kernels().end());
  for (const char* op : {"aten::add", "aten::sub", "aten::mul"})
    ops.emplace_back(op, Kernel::kBinary);
  std::sort(ops.begin(), ops.end());
  return ops;
}

bool is_anchor(Kernel kernel) {
  return kernel == Kernel::kConv || kernel == Kernel::kLinear || kernel == Kernel::kMatmul ||
         kernel == Kernel::kRecurrent || kernel == Kernel::kEmbedding ||
         kernel == Kernel::kEmbeddingBag;
}

bool quantizes_at_run_time(Kernel kernel) {
  return kernel == Kernel::kLinear || kernel == Kernel::kRecurrent;
}

bool has_post_ops(Kernel kernel) {
  return kernel == Kernel::kConv || kernel == Kernel::kLinear || kernel == Kernel::kMatmul ||
         kernel == Kernel::kBinary || kernel == Kernel::kBatchNorm;
}

std::string refusal_of(const Node* node) {
  switch (kernel_of(node)) {
  case Kernel::kNone:
    return "no int8 kernel for this op";
  case Kernel::kConv:
    return refuse_conv(node);
  case Kernel::kLinear:
    return refuse_linear(node);
  case Kernel::kMatmul:
    return "";
  case Kernel::kRecurrent:
    return refuse_recurrent(node);
  case Kernel::kEmbedding:
    return refuse_weight(node->input(0), 2, 2);
  case Kernel::kEmbeddingBag:
    return refuse_embedding_bag(node);
  case Kernel::kBinary:
    return refuse_binary(node);
  case Kernel::kCat:
  case Kernel::kStack:
    return refuse_cat(node);
  case Kernel::kPool:
    return refuse_pool(node);
  case Kernel::kUnary:
    return refuse_unary(node);
  case Kernel::kBatchNorm:
    return refuse_batch_norm(node);
  }
  return "";
}

std::vector<Operand> activations_of(Node* node) {
  switch (kernel_of(node)) {
  case Kernel::kConv:
    return {{node, 0, {"input"}}};
  case Kernel::kLinear:  // "a": it was a matmul with a constant matrix; a role: an einsum with one
    if (!role_of(node).empty()) return {{node, 0, {role_of(node), "input"}}};
    return {{node, 0, {"input", "a"}}};
  case Kernel::kRecurrent:
  case Kernel::kPool:
  case Kernel::kBatchNorm:
    return {{node, 0, {"input"}}};
  case Kernel::kUnary:
    if (!role_of(node).empty()) return {{node, 0, {role_of(node)}}};
    return {{node, 0, {"input", "a"}}};
  case Kernel::kMatmul:
    if (role_of(node) == "qk") return {{node, 0, {"query"}}, {node, 1, {"key"}}};
    if (role_of(node) == "pv") return {{node, 0, {"probabilities"}}, {node, 1, {"value"}}};
    if (role_of(node) == "einsum") return {{node, 0, {"tensors.0"}}, {node, 1, {"tensors.1"}}};
    return {{node, 0, {"a", "input"}}, {node, 1, {"b", "weight"}}};
  case Kernel::kBinary:
    if (role_of(node) == "gated") return {{node, 0, {"input"}}, {node, 1, {"probabilities"}}};
    return {{node, 0, {"a"}}, {node, 1, {"b"}}};
  case Kernel::kCat:
  case Kernel::kStack: {
    std::vector<Operand> operands;
    Node* list = node->input(0)->node();
    for (std::size_t i = 0; i < list->inputs().size(); ++i) {
      operands.push_back({list, i, {"tensors." + std::to_string(i)}});
    }
    return operands;
  }
  case Kernel::kEmbedding:
  case Kernel::kEmbeddingBag:
  case Kernel::kNone:
    return {};
  }
  return {};
}

Value* weight_of(const Node* node) {
  const bool table = is_op(node, {"aten::embedding", "aten::embedding_bag"});
  return const_cast<Value*>(node->input(table ? 0 : 1));
}

bool is_transposed_conv(const Node* node) {
  return is_op(node,
               {"aten::conv_transpose1d", "aten::conv_transpose2d", "aten::conv_transpose3d"});
}

std::size_t recurrent_weights_index(const Node* node) {
  return argument(node, "batch_sizes") == nullptr ? 2 : 3;
}

std::int64_t weight_axis(const Node* node) { return is_transposed_conv(node) ? 1 : 0; }

}  // namespace ipex_quant::passes
