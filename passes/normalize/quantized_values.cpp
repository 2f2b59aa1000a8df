/// \file
/// Implements QuantizedValues.
#include "passes/normalize/quantized_values.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

constexpr std::int64_t kMiddle = 128;  // of uint8, where int8 has 0
constexpr std::int64_t kMost = 255;

/// The int8 codes of a symmetric weight, its scales and the dimension they run along.
struct Weight {
  at::Tensor codes;
  at::Tensor scales;
  std::int64_t axis = 0;
};

std::optional<Weight> symmetric(const at::Tensor& constant,
                                const std::vector<std::int64_t>& range) {
  const bool is_signed = constant.scalar_type() == at::kQInt8;
  if (!is_signed && constant.scalar_type() != at::kQUInt8) return std::nullopt;
  Weight weight;
  at::Tensor zero_points;
  if (constant.qscheme() == at::kPerTensorAffine) {
    weight.scales = at::full({1}, constant.q_scale(), at::kFloat);
    zero_points = at::full({1}, constant.q_zero_point(), at::kLong);
  } else if (constant.qscheme() == at::kPerChannelAffine) {
    weight.scales = constant.q_per_channel_scales().to(at::kFloat).contiguous();
    zero_points = constant.q_per_channel_zero_points();
    weight.axis = constant.q_per_channel_axis();
  } else {
    return std::nullopt;
  }
  const std::int64_t middle = is_signed ? 0 : kMiddle;
  const bool good =
      zero_points.eq(middle).all().item<bool>() &&
      at::logical_and(at::isfinite(weight.scales), weight.scales > 0).all().item<bool>();
  if (!good) return std::nullopt;
  at::Tensor codes = constant.int_repr().to(at::kLong);
  if (!range.empty()) codes = codes.clamp(range.at(0), range.at(1));
  weight.codes = (codes - middle).to(at::kChar).contiguous();
  return weight;
}

}  // namespace

c10::Symbol fixed_attr() { return c10::Symbol::attr("iq_fixed"); }

c10::Symbol restored_attr() { return c10::Symbol::attr("iq_restored"); }

const QuantizedTensor* QuantizedValues::find(const Value* value) const {
  const auto found = known_.find(value);
  return found == known_.end() ? nullptr : &found->second;
}

QuantizedTensor QuantizedValues::quantized(Value* x, double scale, std::int64_t zero_point,
                                           at::ScalarType dtype, Node* node, std::int64_t low,
                                           std::int64_t high) {
  Graph& graph = *graph_;
  const bool narrow = low > 0 || high < kMost;
  if (narrow && !is_within(x, scale, zero_point, low, high)) {
    const auto bound = [&](std::int64_t code) {
      return insert_constant(graph, static_cast<double>(code - zero_point) * scale);
    };
    x = insert_call(graph, "aten::clamp", {x, bound(low), bound(high)});
    inherit(x->node(), {node});
  }
  Value* s = insert_constant(graph, scale);
  Value* z = insert_constant(graph, zero_point);
  Value* q = insert_call(graph, "ipex_quant::quantize", {x, s, z});
  Value* real = insert_call(graph, "ipex_quant::dequantize", {q, s, z});
  add_ids(q->node(), ids_of(node));
  add_ids(real->node(), ids_of(node));
  if (narrow) ranges_[real] = {low, high};
  return {real, scale, zero_point, dtype};
}

/// Only the same codes reach the value: it is moved from where they were made.
bool QuantizedValues::is_within(Value* x, double scale, std::int64_t zero_point, std::int64_t low,
                                std::int64_t high) const {
  while (const auto movement = movement_of(x)) x = movement->input;
  if (made_by(x, {"aten::cat"}) && made_by(x->node()->input(0), {"prim::ListConstruct"})) {
    for (Value* element : x->node()->input(0)->node()->inputs()) {
      if (!is_within(element, scale, zero_point, low, high)) return false;
    }
    return true;
  }
  const auto range = ranges_.find(x);
  return range != ranges_.end() && constant_number(x->node()->input(1)) == scale &&
         constant_int(x->node()->input(2)) == zero_point && range->second.first >= low &&
         range->second.second <= high;
}

Value* QuantizedValues::weight(const at::Tensor& constant, const std::vector<std::int64_t>& range,
                               Node* node) {
  Graph& graph = *graph_;
  const auto found = symmetric(constant, range);
  if (!found) {
    Value* value = insert_constant(graph, constant.dequantize().contiguous());
    value->inferTypeFrom(constant.dequantize());
    return value;
  }
  Value* result =
      insert_call(graph, "ipex_quant::dequantize_weight",
                  {insert_constant(graph, found->codes), insert_constant(graph, found->scales),
                   insert_constant(graph, found->axis)});
  result->node()->i_(fixed_attr(), 1);
  add_ids(result->node(), ids_of(node));
  return result;
}

void QuantizedValues::remove_unread() {
  const std::vector<Node*> nodes = all_nodes(graph_);
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
    const auto outputs = (*node)->outputs().vec();
    const bool read = std::any_of(outputs.begin(), outputs.end(),
                                  [](const Value* output) { return output->hasUses(); });
    const bool ours = (*node)->kind() == c10::prim::ListConstruct ||
                      std::any_of(outputs.begin(), outputs.end(),
                                  [this](const Value* output) { return find(output) != nullptr; });
    if (read || !ours) continue;
    for (const Value* output : outputs) known_.erase(output);
    (*node)->destroy();
  }
}

void QuantizedValues::write_back() {
  remove_unread();
  for (const auto& [value, tensor] : known_) {
    auto* old = const_cast<Value*>(value);
    // A list is made by a node that stays; that node gets a tensor to read.
    const bool is_tensor = tensor.real->type()->isSubtypeOf(*c10::TensorType::get());
    if (!is_tensor || !old->hasUses() || !c10::isQIntType(tensor.dtype)) continue;
    const torch::jit::WithInsertPoint guard(tensor.real->node()->next());
    Value* made = insert_call(*graph_, "aten::quantize_per_tensor",
                              {tensor.real, insert_constant(*graph_, tensor.scale),
                               insert_constant(*graph_, tensor.own_zero_point()),
                               insert_constant(*graph_, static_cast<std::int64_t>(tensor.dtype))});
    made->node()->i_(restored_attr(), 1);
    for (const torch::jit::Use& use : old->uses()) {
      if (use.user->kind() != c10::prim::Return) {
        set_reason(use.user, "no int8 kernel for this op on torch's quantized tensors");
      }
    }
    old->replaceAllUsesWith(made);
  }
}

}  // namespace ipex_quant::passes
