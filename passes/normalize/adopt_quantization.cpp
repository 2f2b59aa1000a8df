/// \file
/// Implements adopt_quantization.
#include "passes/normalize/adopt_quantization.h"

#include <torch/csrc/jit/passes/constant_pooling.h>

#include <algorithm>
#include <cmath>

#include "passes/normalize/expand_quantized.h"
#include "passes/normalize/fake_quant_node.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

std::int64_t shift_of(at::ScalarType dtype) {
  return dtype == at::kQInt8 || dtype == at::kChar ? 128 : 0;
}

class Adopter {
 public:
  explicit Adopter(const std::shared_ptr<Graph>& graph)
      : graph_(graph), values_(graph), written_(written_values(graph)) {}

  bool run() {
    bool changed = false;
    for (Node* node : all_nodes(graph_)) changed |= visit(node);
    if (!changed) return false;
    values_.write_back();
    remove_dead(graph_);
    torch::jit::ConstantPooling(graph_);
    return true;
  }

 private:
  bool visit(Node* node) {
    if (node->hasAttribute(restored_attr())) return false;
    if (is_op(node, {"aten::quantize_per_tensor"})) return quantize(node);
    if (is_op(node, {"quantized_decomposed::quantize_per_tensor"})) return quantize_codes(node);
    if (is_op(node, {"aten::dequantize"})) return dequantize(node);
    if (is_op(node, {"quantized_decomposed::dequantize_per_tensor"})) return dequantize(node);
    if (const auto fq = read_fake_quant(node)) return fake_quantize(node, *fq);
    for (const Value* output : node->outputs()) {
      if (written_.count(output) != 0) return false;
    }
    return expand_quantized(graph_, node, values_);
  }

  /// Constant qparams of a scale and a zero point, or none, with the reason on the node.
  static std::optional<std::pair<double, std::int64_t>> qparams(Node* node, const Value* scale,
                                                                const Value* zero_point) {
    const auto s = constant_element(scale);
    const auto z = constant_element(zero_point);
    if (!s || !z) {
      set_reason(node, "its scale or zero point is not one constant number");
      return std::nullopt;
    }
    if (!std::isfinite(*s) || *s <= 0 || *z != std::floor(*z)) {
      set_reason(node, "its scale is not a finite number above 0, or its zero point is no integer");
      return std::nullopt;
    }
    return std::make_pair(*s, static_cast<std::int64_t>(*z));
  }

  /// The value quantized with these codes (in its own dtype), or none, with the reason on the node.
  std::optional<QuantizedTensor> quantized(Node* node, Value* x, const Value* scale,
                                           const Value* zero_point, at::ScalarType dtype,
                                           std::int64_t low, std::int64_t high) {
    const auto q = qparams(node, scale, zero_point);
    if (!q) return std::nullopt;
    const std::int64_t shift = shift_of(dtype);
    const std::int64_t zero = q->second + shift;
    if (zero < 0 || zero > 255 || written_.count(node->output(0)) != 0) {
      set_reason(node, "its zero point is not one of its codes");
      return std::nullopt;
    }
    const torch::jit::WithInsertPoint guard(node);
    return values_.quantized(x, q->first, zero, dtype, node, low + shift, high + shift);
  }

  bool note(Node* node, at::ScalarType dtype, std::int64_t low, std::int64_t high) {
    const auto made =
        quantized(node, node->input(0), node->input(1), node->input(2), dtype, low, high);
    if (made) values_.set(node->output(0), *made);
    return made.has_value();
  }

  bool quantize(Node* node) {
    const auto dtype = constant_int(node->input(3));
    const auto type = static_cast<at::ScalarType>(dtype.value_or(-1));
    if (type != at::kQUInt8 && type != at::kQInt8) {
      set_reason(node, "its codes do not fit into 8 bits");
      return false;
    }
    const std::int64_t low = type == at::kQUInt8 ? 0 : -128;
    return note(node, type, low, low + 255);
  }

  bool quantize_codes(Node* node) {
    const auto low = constant_element(node->input(3));
    const auto high = constant_element(node->input(4));
    const auto type = static_cast<at::ScalarType>(constant_int(node->input(5)).value_or(-1));
    const std::int64_t least = type == at::kByte ? 0 : -128;
    if ((type != at::kByte && type != at::kChar) || !low || !high || *low < least ||
        *high > static_cast<double>(least + 255) || *low >= *high) {
      set_reason(node, "its codes do not fit into 8 bits");
      return false;
    }
    return note(node, type, static_cast<std::int64_t>(*low), static_cast<std::int64_t>(*high));
  }

  bool fake_quantize(Node* node, const FakeQuant& fq) {
    const auto dtype = dtype_of_range(fq.low, fq.high);
    const bool masked = node->outputs().size() > 1 && node->output(1)->hasUses();
    if (fq.observer_on != nullptr || masked) return false;  // it has its reason
    if (fq.axis) {
      set_reason(node, "an activation is quantized with one scale");
      return false;
    }
    if (!dtype) {
      set_reason(node, "its codes do not fit into 8 bits");
      return false;
    }
    const auto made = quantized(node, fq.input, fq.scale, fq.zero_point, *dtype, fq.low, fq.high);
    return made && replace(node, made->real);
  }

  /// Dequantizes what is known to be quantized, or a constant.
  bool dequantize(Node* node) {
    const Value* q = node->input(0);
    if (const QuantizedTensor* found = values_.find(q)) {
      if (!c10::isQIntType(found->dtype) && !same_params(node, *found)) return false;
      if (!node->hasAttribute(reason_attr())) add_ids(found->real->node(), ids_of(node));
      return replace(node, found->real);
    }
    const auto constant = constant_tensor(q);
    if (!constant || !constant->is_quantized()) return false;
    const torch::jit::WithInsertPoint guard(node);
    const auto range =
        node->hasAttribute(range_attr()) ? node->is(range_attr()) : std::vector<std::int64_t>();
    return replace(node, values_.weight(*constant, range, node));
  }

  /// A dequantize of quantized_decomposed names the qparams again; they may be others.
  static bool same_params(Node* node, const QuantizedTensor& tensor) {
    const Value* out_dtype = argument(node, "out_dtype");
    const bool plain = out_dtype == nullptr || is_none(out_dtype) ||
                       constant_int(out_dtype) == static_cast<std::int64_t>(at::kFloat);
    if (plain && constant_element(node->input(1)) == tensor.scale &&
        constant_element(node->input(2)) == static_cast<double>(tensor.own_zero_point())) {
      return true;
    }
    set_reason(node, "it dequantizes with other qparams than its input was quantized with");
    return false;
  }

  static bool replace(Node* node, Value* value) {
    replace_value(node->output(0), value);  // a second output, a mask, has no uses
    node->destroy();
    return true;
  }

  const std::shared_ptr<Graph>& graph_;
  QuantizedValues values_;
  std::unordered_set<const Value*> written_;
};

}  // namespace

bool adopt_quantization(const std::shared_ptr<Graph>& graph) { return Adopter(graph).run(); }

}  // namespace ipex_quant::passes
