/// \file
/// The operator table: one row per family.
#include "passes/sites/op_table.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <unordered_map>

namespace ipex_quant::passes {

namespace {

constexpr auto kActivation = OperandKind::kActivation;
constexpr auto kWeight = OperandKind::kWeight;
constexpr auto kWeightList = OperandKind::kWeightList;
constexpr auto kTensorList = OperandKind::kTensorList;

const std::vector<OperandRow> kInput = {{"input", 0, kActivation, -1, -1}};
const std::vector<OperandRow> kAB = {{"a", 0, kActivation, -1, -1}, {"b", 1, kActivation, -1, -1}};
const std::vector<OperandRow> kRecurrent = {{"input", 0, kActivation, -1, -1},
                                            {"weights", 2, kWeightList, 0, 0}};
const std::vector<OperandRow> kPackedSequence = {{"input", 0, kActivation, -1, -1},
                                                 {"weights", 3, kWeightList, 0, 0}};

// clang-format off
const std::vector<OpRow> kTable = {
    // The tracer records conv1d/2d/3d and conv_transpose as the _convolution inside of them; input and weight stand at
    // the same positions in all forms, so that one row covers the eager call and the traced node.
    {"conv", {"aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::convolution", "aten::_convolution",
              "aten::_convolution_mode", "aten::conv_transpose1d", "aten::conv_transpose2d", "aten::conv_transpose3d"},
             {{"input", 0, kActivation, -1, -1}, {"weight", 1, kWeight, 0, 1}}},
    {"linear", {"aten::linear"}, {{"input", 0, kActivation, -1, -1}, {"weight", 1, kWeight, 0, 0}}},
    {"addmm", {"aten::addmm"}, {{"input", 1, kActivation, -1, -1}, {"weight", 2, kWeight, 1, 1}}},
    {"matmul", {"aten::matmul", "aten::mm", "aten::bmm"}, kAB},
    {"einsum", {"aten::einsum"}, {{"tensors", 1, kTensorList, -1, -1}}},
    {"baddbmm", {"aten::baddbmm"}, {{"a", 1, kActivation, -1, -1}, {"b", 2, kActivation, -1, -1}}},
    {"sdpa", {"aten::scaled_dot_product_attention"},
             {{"query", 0, kActivation, -1, -1}, {"key", 1, kActivation, -1, -1}, {"value", 2, kActivation, -1, -1}}},
    {"lstm", {"aten::lstm.input"}, kRecurrent},
    {"gru", {"aten::gru.input"}, kRecurrent},
    {"lstm_packed", {"aten::lstm.data"}, kPackedSequence},
    {"gru_packed", {"aten::gru.data"}, kPackedSequence},
    {"add", {"aten::add", "aten::add_"}, kAB},
    {"sub", {"aten::sub", "aten::sub_", "aten::subtract", "aten::subtract_"}, kAB},
    {"mul", {"aten::mul", "aten::mul_", "aten::multiply", "aten::multiply_"}, kAB},
    {"cat", {"aten::cat", "aten::concat", "aten::concatenate"}, {{"tensors", 0, kTensorList, -1, -1}}},
    {"max_pool", {"aten::max_pool1d", "aten::max_pool2d", "aten::max_pool3d"}, kInput},
    {"avg_pool", {"aten::avg_pool1d", "aten::avg_pool2d", "aten::avg_pool3d"}, kInput},
    {"adaptive_avg_pool", {"aten::adaptive_avg_pool1d", "aten::adaptive_avg_pool2d", "aten::adaptive_avg_pool3d"},
                          kInput},
    {"mean", {"aten::mean.dim"}, kInput},
    {"relu", {"aten::relu", "aten::relu_"}, kInput},
    {"relu6", {"aten::relu6", "aten::relu6_"}, kInput},
    {"hardtanh", {"aten::hardtanh", "aten::hardtanh_"}, kInput},
    {"clamp", {"aten::clamp", "aten::clamp_", "aten::clip", "aten::clip_"}, kInput},
    {"sigmoid", {"aten::sigmoid", "aten::sigmoid_"}, kInput},
    {"tanh", {"aten::tanh", "aten::tanh_"}, kInput},
    {"gelu", {"aten::gelu", "aten::gelu_"}, kInput},
    {"silu", {"aten::silu", "aten::silu_"}, kInput},
    {"hardswish", {"aten::hardswish", "aten::hardswish_"}, kInput},
    {"hardsigmoid", {"aten::hardsigmoid", "aten::hardsigmoid_"}, kInput},
    {"leaky_relu", {"aten::leaky_relu", "aten::leaky_relu_"}, kInput},
    {"elu", {"aten::elu", "aten::elu_"}, kInput},
    {"mish", {"aten::mish", "aten::mish_"}, kInput},
    {"prelu", {"aten::prelu"}, kInput},
    {"glu", {"aten::glu"}, kInput},
    {"batch_norm", {"aten::batch_norm"}, kInput},
    {"softplus", {"aten::softplus"}, kInput},
    {"log_sigmoid", {"aten::log_sigmoid"}, kInput},
    {"selu", {"aten::selu", "aten::selu_"}, kInput},
    {"celu", {"aten::celu", "aten::celu_"}, kInput},
    // These run in float; their inputs are observed for the functions of users that begin with them.
    {"abs", {"aten::abs", "aten::abs_"}, kInput},
    {"atan", {"aten::atan", "aten::atan_"}, kInput},
    {"ceil", {"aten::ceil", "aten::ceil_"}, kInput},
    {"clamp_max", {"aten::clamp_max", "aten::clamp_max_"}, kInput},
    {"clamp_min", {"aten::clamp_min", "aten::clamp_min_"}, kInput},
    {"cos", {"aten::cos", "aten::cos_"}, kInput},
    {"div", {"aten::div", "aten::div_", "aten::divide", "aten::divide_", "aten::true_divide",
             "aten::true_divide_"}, kAB},
    {"erf", {"aten::erf", "aten::erf_"}, kInput},
    {"exp", {"aten::exp", "aten::exp_"}, kInput},
    {"expm1", {"aten::expm1", "aten::expm1_"}, kInput},
    {"floor", {"aten::floor", "aten::floor_"}, kInput},
    {"log", {"aten::log", "aten::log_"}, kInput},
    {"log1p", {"aten::log1p", "aten::log1p_"}, kInput},
    {"neg", {"aten::neg", "aten::neg_"}, kInput},
    {"pow", {"aten::pow", "aten::pow_"}, kInput},
    {"reciprocal", {"aten::reciprocal", "aten::reciprocal_"}, kInput},
    {"round", {"aten::round", "aten::round_"}, kInput},
    {"rsqrt", {"aten::rsqrt", "aten::rsqrt_"}, kInput},
    {"rsub", {"aten::rsub"}, kInput},
    {"sign", {"aten::sign", "aten::sign_"}, kInput},
    {"sin", {"aten::sin", "aten::sin_"}, kInput},
    {"sqrt", {"aten::sqrt", "aten::sqrt_"}, kInput},
    {"square", {"aten::square", "aten::square_"}, kInput},
    {"embedding", {"aten::embedding"}, {{"weight", 0, kWeight, 0, 0}}},
    {"embedding_bag", {"aten::embedding_bag"}, {{"weight", 0, kWeight, 0, 0}}},
};
// clang-format on

std::unordered_map<std::string, const OpRow*> index_table() {
  std::unordered_map<std::string, const OpRow*> index;
  for (const OpRow& row : kTable) {
    for (const char* name : row.names) {
      TORCH_CHECK(index.emplace(name, &row).second, "operator '", name,
                  "' stands twice in the operator table");
    }
  }
  return index;
}

}  // namespace

const std::vector<OpRow>& op_table() { return kTable; }

const OpRow* find_row(const std::string& name, const std::string& overload) {
  static const auto kIndex = index_table();
  auto found = kIndex.find(name);
  if (found == kIndex.end() && !overload.empty()) {
    found = kIndex.find(name + "." + overload);
  }
  return found == kIndex.end() ? nullptr : found->second;
}

const char* kind_name(OperandKind kind) {
  switch (kind) {
  case OperandKind::kActivation:
    return "activation";
  case OperandKind::kWeight:
    return "weight";
  case OperandKind::kWeightList:
    return "weight_list";
  case OperandKind::kTensorList:
    return "tensor_list";
  }
  return "";
}

bool is_looked_through(const std::string& name) {
  // torch's tools/autograd/gen_trace_type.py, DONT_RECORD_TRACE, without the convolutions (see the
  // conv row).
  static const std::array<const char*, 5> kNames = {"aten::lstm_cell", "aten::gru_cell",
                                                    "aten::rnn_tanh_cell", "aten::rnn_relu_cell",
                                                    "aten::_coalesced"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

}  // namespace ipex_quant::passes
