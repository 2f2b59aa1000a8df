/// \file
/// Implements Integers.
#include "passes/integers.h"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "passes/ir.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

bool is_integer(at::ScalarType type) { return at::isIntegralType(type, /*includeBool=*/true); }

bool is_tensor(const Value* value) { return value->type()->isSubtypeOf(*c10::TensorType::get()); }

/// A number or a flag that is not float, a size, a dtype: what cannot make integers float.
bool is_no_float(const Value* value) {
  return !is_tensor(value) && !value->type()->isSubtypeOf(*c10::ListType::ofTensors()) &&
         !value->type()->isSubtypeOf(*c10::FloatType::get());
}

/// Ops whose result is an integer or boolean whatever they read.
bool makes_integers(const Node* node) {
  return is_op(node,
               {"aten::eq",          "aten::ne",          "aten::lt",          "aten::le",
                "aten::gt",          "aten::ge",          "aten::logical_and", "aten::logical_or",
                "aten::logical_not", "aten::logical_xor", "aten::__and__",     "aten::__or__",
                "aten::__xor__",     "aten::bitwise_and", "aten::bitwise_or",  "aten::bitwise_not",
                "aten::isnan",       "aten::isinf",       "aten::argmax",      "aten::argmin",
                "aten::argsort"});
}

/// Ops whose result has the dtype of what they read.
bool keeps_dtype(const Node* node) {
  return is_op(node,
               {"aten::add",          "aten::sub",       "aten::mul",      "aten::rsub",
                "aten::floor_divide", "aten::remainder", "aten::neg",      "aten::abs",
                "aten::min",          "aten::max",       "aten::minimum",  "aten::maximum",
                "aten::clamp",        "aten::cat",       "aten::stack",    "aten::full_like",
                "aten::zeros_like",   "aten::ones_like", "aten::cumsum",   "aten::masked_fill",
                "aten::sum",          "aten::new_ones",  "aten::new_zeros"});
}

bool indexes_a_table(const Value* value) {
  const auto& uses = value->uses();
  return std::any_of(uses.begin(), uses.end(), [](const torch::jit::Use& use) {
    return use.offset == 1 &&
           is_op(use.user, {"aten::embedding", "aten::embedding_bag", "ipex_quant::embedding",
                            "ipex_quant::embedding_bag"});
  });
}

}  // namespace

bool Integers::has(const Value* value) {
  const auto [known, fresh] = known_.try_emplace(value, false);
  if (!fresh) return known->second;
  const bool result = compute(value);
  return known_[value] = result;
}

bool Integers::compute(const Value* value) {
  if (const auto constant = constant_of(value)) {
    if (constant->isTensor() && constant->toTensor().defined()) {
      return is_integer(constant->toTensor().scalar_type());
    }
    return constant->isInt() || constant->isBool();
  }
  if (value->type()->isSubtypeOf(*c10::IntType::get())) return true;
  if (const auto type = value->type()->cast<c10::TensorType>(); type && type->scalarType()) {
    return is_integer(*type->scalarType());
  }
  const Node* node = value->node();
  if (indexes_a_table(value) || makes_integers(node)) return true;
  const Value* dtype = argument(node, "dtype");
  if (const auto said = dtype == nullptr ? std::nullopt : constant_int(dtype)) {
    return is_integer(static_cast<at::ScalarType>(*said));
  }
  if (is_op(node, {"aten::arange"})) {
    return std::all_of(node->inputs().begin(), node->inputs().end(), is_no_float);
  }
  if (node->kind() == c10::prim::NumToTensor) return has(node->input());
  if (node->kind() == c10::prim::ListUnpack || moved_input(node) != nullptr) {
    return has(node->input(0));
  }
  if (node->kind() == c10::prim::ListConstruct || keeps_dtype(node)) {
    return !node->inputs().empty() &&
           std::all_of(node->inputs().begin(), node->inputs().end(),
                       [this](const Value* input) { return is_no_float(input) || has(input); });
  }
  return false;
}

}  // namespace ipex_quant::passes
