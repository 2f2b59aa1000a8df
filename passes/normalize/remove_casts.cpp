/// \file
/// Implements remove_casts.
#include "passes/normalize/remove_casts.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <unordered_map>

#include "passes/ir.h"
#include "passes/normalize/conv_node.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

bool is_floating(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined() &&
         (value.toTensor().is_floating_point() || value.toTensor().is_complex());
}

/// Finds the values that are float32 whatever the graph's inputs are.
class Float32 {
 public:
  explicit Float32(const std::shared_ptr<Graph>& graph) {
    for (const Node* node : all_nodes(graph)) other_ = other_ || makes_other(node);
  }

  bool has(const Value* value) {
    if (other_) return false;
    const auto [known, fresh] = known_.try_emplace(value, false);
    if (!fresh) return known->second;
    const bool result = compute(value);
    return known_[value] = result;
  }

 private:
  /// A floating-point constant, or dtype, that is not float32: then any value may be of that type.
  static bool makes_other(const Node* node) {
    if (node->kind() == c10::prim::Constant) {
      // The tracer keeps a Python number as a 0-dim double; it changes no dtype.
      const auto constant = constant_of(node->output());
      return constant && is_floating(*constant) && constant->toTensor().dim() > 0 &&
             constant->toTensor().scalar_type() != at::kFloat;
    }
    const Value* dtype = argument(node, "dtype");
    const auto said = dtype == nullptr ? std::nullopt : constant_int(dtype);
    if (!said) return false;
    const auto type = static_cast<at::ScalarType>(*said);
    return (at::isFloatingType(type) || at::isComplexType(type)) && type != at::kFloat;
  }

  bool compute(const Value* value) {
    if (const auto constant = constant_of(value)) {
      return constant->isTensor() && constant->toTensor().defined() &&
             constant->toTensor().scalar_type() == at::kFloat;
    }
    const Node* node = value->node();
    const Value* dtype = argument(node, "dtype");
    if (dtype != nullptr && !is_none(dtype)) {
      return constant_int(dtype) == static_cast<std::int64_t>(at::kFloat);
    }
    const bool has_weight = is_canonical_conv_op(node) ||
                            is_op(node, {"aten::linear", "aten::layer_norm", "aten::batch_norm"});
    if (has_weight)
      return has(node->input(1)) || (node->inputs().size() > 2 && has(node->input(2)));
    if (is_op(node, {"aten::embedding", "aten::embedding_bag"})) return has(node->input(0));
    if (is_op(node, {"aten::masked_fill", "aten::dropout"})) return has(node->input(0));
    if (is_op(node, {"aten::where"}) && node->inputs().size() == 3) {
      // A number takes the dtype of the other.
      const bool first = has(node->input(1));
      const bool second = has(node->input(2));
      return (first || constant_number(node->input(1))) &&
             (second || constant_number(node->input(2))) && (first || second);
    }
    if (const auto movement = movement_of(const_cast<Value*>(value))) return has(movement->input);
    const bool plain =
        is_op(node, {"aten::softmax", "aten::_safe_softmax", "aten::matmul", "aten::bmm",
                     "aten::add", "aten::sub", "aten::mul", "aten::div", "aten::relu", "aten::gelu",
                     "aten::silu", "aten::tanh", "aten::sigmoid", "aten::neg", "aten::clamp",
                     "aten::pow", "aten::mean", "aten::rsqrt", "aten::sqrt"});
    return plain && all_tensors(node);
  }

  /// All tensors that an op without a dtype of its own reads are float32 (0-dim constants are
  /// numbers, whose dtype does not count).
  bool all_tensors(const Node* node) {
    for (const Value* input : node->inputs()) {
      const bool tensor = input->type()->isSubtypeOf(*c10::TensorType::get());
      if (tensor && !constant_number(input) && !has(input)) return false;
    }
    return true;
  }

  bool other_ = false;
  std::unordered_map<const Value*, bool> known_;
};

/// The argument is absent, None, or the constant false.
bool is_off(const Value* value) {
  return value == nullptr || is_none(value) || constant_bool(value) == std::optional<bool>(false);
}

bool is_strided_or_none(const Value* value) {
  return value == nullptr || is_none(value) ||
         constant_int(value) == static_cast<std::int64_t>(at::kStrided);
}

bool is_cpu_or_none(const Value* value) {
  if (value == nullptr || is_none(value)) return true;
  const auto device = constant_of(value);
  return device && device->isDevice() && device->toDevice().is_cpu();
}

/// The cast asks for float32, or for the dtype of a tensor that is float32.
bool asks_for_float(const Node* node, Float32& floats) {
  if (const Value* other = argument(node, "other")) return floats.has(other);
  const Value* dtype = argument(node, "dtype");
  if (dtype == nullptr || is_none(dtype)) return true;
  return constant_int(dtype) == static_cast<std::int64_t>(at::kFloat);
}

bool changes_nothing(const Node* node, Float32& floats) {
  if (!is_op(node, {"aten::to", "aten::type_as"}) || argument(node, "self") == nullptr) {
    return false;
  }
  const bool plain = is_off(argument(node, "copy")) && is_off(argument(node, "memory_format")) &&
                     is_strided_or_none(argument(node, "layout")) &&
                     is_cpu_or_none(argument(node, "device"));
  return plain && asks_for_float(node, floats) && floats.has(node->input(0));
}

}  // namespace

bool remove_casts(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  Float32 floats(graph);
  for (Node* node : all_nodes(graph)) {
    if (changes_nothing(node, floats)) {
      replace_node(node, node->input(0));
      changed = true;
    }
  }
  if (changed) remove_dead(graph);
  return changed;
}

}  // namespace ipex_quant::passes
