/// \file
/// Implements read_fake_quant.
#include "passes/normalize/fake_quant_node.h"

namespace ipex_quant::passes {

namespace {

bool is_fake_quant(const Node* node) {
  return is_op(
      node,
      {"aten::fake_quantize_per_tensor_affine", "aten::fake_quantize_per_tensor_affine_cachemask",
       "aten::_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
       "aten::fake_quantize_per_channel_affine", "aten::fake_quantize_per_channel_affine_cachemask",
       "aten::fused_moving_avg_obs_fake_quant", "aten::_fused_moving_avg_obs_fq_helper"});
}

}  // namespace

std::optional<FakeQuant> read_fake_quant(const Node* node) {
  if (!is_fake_quant(node)) return std::nullopt;
  FakeQuant found;
  found.input = const_cast<Value*>(node->input(0));
  found.scale = argument(node, "scale");
  found.zero_point = argument(node, "zero_point");
  found.observer_on = argument(node, "observer_on");
  const bool fused = found.observer_on != nullptr;
  found.fake_quant_on = argument(node, fused ? "fake_quant_on" : "fake_quant_enabled");
  const auto low = constant_int(argument(node, "quant_min"));
  const auto high = constant_int(argument(node, "quant_max"));
  if (!low || !high) return std::nullopt;
  found.low = *low;
  found.high = *high;
  const Value* axis = argument(node, fused ? "ch_axis" : "axis");
  const bool per_channel =
      fused ? constant_bool(argument(node, "per_row_fake_quant")).value_or(false) : axis != nullptr;
  if (per_channel) {
    found.axis = constant_int(axis);
    if (!found.axis) return std::nullopt;
  }
  return found;
}

std::optional<double> constant_element(const Value* value) {
  if (const auto number = constant_number(value)) return number;
  const auto tensor = constant_tensor(value);
  if (!tensor || tensor->numel() != 1 || tensor->is_complex()) return std::nullopt;
  return tensor->item<double>();
}

std::optional<at::ScalarType> dtype_of_range(std::int64_t low, std::int64_t high) {
  if (low >= high) return std::nullopt;
  if (low >= 0 && high <= 255) return at::kQUInt8;
  if (low >= -128 && high <= 127) return at::kQInt8;
  return std::nullopt;
}

c10::Symbol range_attr() { return c10::Symbol::attr("iq_range"); }

}  // namespace ipex_quant::passes
