// Implements is_known_float by lists of ops.
#include "passes/fusion/known_float.h"

#include <string>
#include <unordered_set>

#include "passes/ir.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

bool yields_float(const Node* node) {
  static const std::unordered_set<std::string> kNames = {"aten::conv1d",
                                                         "aten::conv2d",
                                                         "aten::conv3d",
                                                         "aten::conv_transpose1d",
                                                         "aten::conv_transpose2d",
                                                         "aten::conv_transpose3d",
                                                         "aten::linear",
                                                         "aten::layer_norm",
                                                         "aten::rms_norm",
                                                         "aten::batch_norm",
                                                         "aten::group_norm",
                                                         "aten::instance_norm",
                                                         "aten::embedding",
                                                         "aten::embedding_bag",
                                                         "aten::lstm",
                                                         "aten::gru",
                                                         "aten::softmax",
                                                         "aten::_safe_softmax",
                                                         "aten::gelu",
                                                         "aten::sigmoid",
                                                         "aten::tanh",
                                                         "aten::silu",
                                                         "aten::hardswish",
                                                         "aten::hardsigmoid",
                                                         "aten::mish",
                                                         "aten::elu",
                                                         "aten::leaky_relu",
                                                         "aten::adaptive_avg_pool1d",
                                                         "aten::adaptive_avg_pool2d",
                                                         "aten::adaptive_avg_pool3d",
                                                         "aten::avg_pool1d",
                                                         "aten::avg_pool2d",
                                                         "aten::avg_pool3d",
                                                         "aten::upsample_bilinear2d",
                                                         "ipex_quant::dequantize",
                                                         "ipex_quant::attention",
                                                         "ipex_quant::function",
                                                         "ipex_quant::conv",
                                                         "ipex_quant::linear",
                                                         "ipex_quant::matmul",
                                                         "ipex_quant::binary"};
  return kNames.count(node->kind().toQualString()) != 0;
}

bool keeps_dtype(const Node* node) {
  return is_op(node,
               {"aten::relu", "aten::relu6", "aten::hardtanh", "aten::clamp", "aten::clamp_min",
                "aten::clamp_max", "aten::neg", "aten::abs", "aten::masked_fill", "aten::rsub",
                "aten::index", "aten::dropout", "aten::mean", "aten::softplus"});
}

/// Some op reads the value that takes nothing but float there.
bool read_as_float(const Value* value) {
  for (const torch::jit::Use& use : value->uses()) {
    const bool reads_float =
        is_op(use.user, {"aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::conv_transpose1d",
                         "aten::conv_transpose2d", "aten::conv_transpose3d", "aten::linear",
                         "aten::layer_norm", "aten::batch_norm", "ipex_quant::quantize"});
    if (reads_float && use.offset == 0) return true;
  }
  return false;
}

bool known_float(const Value* value, int depth) {
  constexpr int kMaxDepth = 64;
  if (depth > kMaxDepth) return false;
  if (const auto tensor = constant_tensor(value)) return tensor->scalar_type() == at::kFloat;
  if (read_as_float(value)) return true;
  const Node* node = value->node();
  if (node->inputs().empty()) return false;
  if (yields_float(node)) return true;
  if (const auto movement = movement_of(const_cast<Value*>(value))) {
    return known_float(movement->input, depth + 1);
  }
  if (keeps_dtype(node)) return known_float(node->input(0), depth + 1);
  if (is_op(node, {"aten::to"})) {
    const auto dtype = constant_int(node->input(1));
    return dtype && *dtype == static_cast<std::int64_t>(at::kFloat);
  }
  if (is_op(node, {"aten::zeros", "aten::ones", "aten::full", "aten::zeros_like", "aten::ones_like",
                   "aten::full_like"})) {
    // Without a dtype zeros and ones take torch's default, which a saved model must not depend on.
    const Value* said = argument(node, "dtype");
    const auto dtype = said == nullptr ? std::nullopt : constant_int(said);
    return dtype && *dtype == static_cast<std::int64_t>(at::kFloat);
  }
  if (is_op(node, {"aten::where"}) && node->inputs().size() == 3) {
    const Value* a = node->input(1);
    const Value* b = node->input(2);
    // A number, or a tensor that holds one, takes the dtype of the other.
    return known_float(a, depth + 1) ? constant_number(b) || known_float(b, depth + 1)
                                     : constant_number(a) && known_float(b, depth + 1);
  }
  if (is_op(node, {"aten::matmul", "aten::bmm", "aten::mm"})) {
    return known_float(node->input(0), depth + 1);
  }
  if (is_op(node, {"aten::add", "aten::sub", "aten::mul", "aten::div"})) {
    const Value* a = node->input(0);
    const Value* b = node->input(1);
    if (constant_number(a)) return known_float(b, depth + 1);
    if (constant_number(b)) return known_float(a, depth + 1);
    return known_float(a, depth + 1) && known_float(b, depth + 1);
  }
  if (is_op(node, {"aten::cat"}) && made_by(node->input(0), {"prim::ListConstruct"})) {
    for (const Value* tensor : node->input(0)->node()->inputs()) {
      if (!known_float(tensor, depth + 1)) return false;
    }
    return true;
  }
  return false;
}

}  // namespace

bool is_known_float(const Value* value) { return known_float(value, 0); }

}  // namespace ipex_quant::passes
