/// \file
/// Implements settle_fake_quant.
#include "passes/normalize/settle_fake_quant.h"

#include <algorithm>
#include <unordered_map>

#include "passes/normalize/fake_quant_node.h"

namespace ipex_quant::passes {

namespace {

namespace prim = c10::prim;

class Settler {
 public:
  Settler(const std::shared_ptr<Graph>& graph, const torch::jit::Module* module)
      : graph_(graph), module_(module) {}

  bool run() {
    bool changed = false;
    for (Node* node : all_nodes(graph_)) {
      if (is_op(node, {"quantized_decomposed::dequantize_per_channel",
                       "quantized_decomposed::dequantize_per_tensor"})) {
        changed |= keep_codes(node);
      } else if (const auto found = read_fake_quant(node)) {
        changed |= settle(node, *found);
      }
    }
    if (changed) remove_dead(graph_);
    return changed;
  }

 private:
  bool settle(Node* node, const FakeQuant& fq) {
    if (node->outputs().size() > 1 && node->output(1)->hasUses()) {
      set_reason(node, "the mask of its gradient is used");
      return false;
    }
    if (fq.observer_on != nullptr) {
      const auto on = switch_of(fq.observer_on);
      if (on.value_or(true)) {
        set_reason(node, on ? "its observer is on: call torch.ao.quantization.disable_observer on "
                              "the model before it is traced"
                            : "its switch is not a constant");
        return false;
      }
    }
    if (fq.fake_quant_on != nullptr) {
      const auto on = switch_of(fq.fake_quant_on);
      if (!on) {
        set_reason(node, "its switch is not a constant");
        return false;
      }
      if (!*on) return replace(node, fq.input);
    }
    const auto dtype = dtype_of_range(fq.low, fq.high);
    if (!dtype) {
      set_reason(node, "its codes do not fit into 8 bits");
      return false;
    }
    const torch::jit::WithInsertPoint guard(node);
    if (!depends_on_input(fq.input)) return replace(node, quantized_constant(node, fq, *dtype));
    if (fq.observer_on == nullptr) return false;
    return replace(node, plain(node, fq));
  }

  static bool replace(Node* node, Value* value) {
    replace_value(node->output(0), value);
    node->destroy();
    return true;
  }

  /// The fused operator without its observer.
  Value* plain(Node* node, const FakeQuant& fq) {
    std::vector<Value*> inputs = {fq.input, fq.scale, fq.zero_point};
    const char* op = "aten::fake_quantize_per_tensor_affine";
    if (fq.axis) {
      op = "aten::fake_quantize_per_channel_affine";
      inputs.push_back(insert_constant(*graph_, *fq.axis));
    }
    inputs.push_back(insert_constant(*graph_, fq.low));
    inputs.push_back(insert_constant(*graph_, fq.high));
    Value* result = insert_call(*graph_, op, inputs);
    inherit(result->node(), {node});
    return result;
  }

  Value* quantized_constant(Node* node, const FakeQuant& fq, at::ScalarType dtype) {
    std::vector<Value*> inputs = {fq.input, fq.scale, fq.zero_point};
    if (fq.axis) inputs.push_back(insert_constant(*graph_, *fq.axis));
    inputs.push_back(insert_constant(*graph_, static_cast<std::int64_t>(dtype)));
    Value* q = insert_call(
        *graph_, fq.axis ? "aten::quantize_per_channel" : "aten::quantize_per_tensor", inputs);
    Value* result = dequantized(q, node);
    result->node()->is_(range_attr(), {fq.low, fq.high});
    return result;
  }

  Value* dequantized(Value* q, Node* node) {
    Node* dequantize =
        graph_->insertNode(graph_->create(c10::Symbol::fromQualString("aten::dequantize"), {q}));
    inherit(q->node(), {node});
    inherit(dequantize, {node});
    return dequantize->output();
  }

  /// The dequantize of a stored weight, with the codes as a quantized tensor of torch.
  bool keep_codes(Node* node) {
    const Value* out_dtype = argument(node, "out_dtype");
    if (depends_on_input(node->input(0)) || (out_dtype != nullptr && !is_none(out_dtype))) {
      return false;
    }
    const torch::jit::WithInsertPoint guard(node);
    const Value* axis = argument(node, "axis");
    Value* zero_point = node->input(2);
    std::vector<Value*> inputs = {node->input(0), node->input(1)};
    if (is_none(zero_point)) {
      Value* dtype = insert_constant(*graph_, static_cast<std::int64_t>(at::kLong));
      zero_point = insert_call(*graph_, "aten::zeros_like", {node->input(1), dtype});
    }
    inputs.push_back(zero_point);
    if (axis != nullptr) inputs.push_back(const_cast<Value*>(axis));
    const char* make = axis != nullptr ? "aten::_make_per_channel_quantized_tensor"
                                       : "aten::_make_per_tensor_quantized_tensor";
    const bool numbers = inputs[1]->type()->kind() == c10::TypeKind::FloatType;
    if (axis == nullptr && !numbers) return false;
    return replace(node, dequantized(insert_call(*graph_, make, inputs), node));
  }

  /// A constant or an attribute of the module: whether it is on.
  std::optional<bool> switch_of(const Value* value) const {
    const auto found = read(value);
    if (!found) return std::nullopt;
    if (found->isBool()) return found->toBool();
    if (!found->isTensor() || found->toTensor().numel() != 1) return std::nullopt;
    return found->toTensor().item<double>() != 0;
  }

  std::optional<c10::IValue> read(const Value* value) const {
    if (auto constant = constant_of(value)) return constant;
    if (module_ != nullptr && value == graph_->inputs().at(0)) return module_->_ivalue();
    if (value->node()->kind() != prim::GetAttr) return std::nullopt;
    const auto owner = read(value->node()->input());
    if (!owner || !owner->isObject()) return std::nullopt;
    return owner->toObject()->getAttr(value->node()->s(c10::attr::name));
  }

  bool depends_on_input(const Value* value) {
    const auto known = depends_.find(value);
    if (known != depends_.end()) return known->second;
    const Node* node = value->node();
    bool depends = false;
    if (node->kind() == prim::Param) {
      depends = value->type()->cast<c10::ClassType>() == nullptr;
    } else {
      const auto inputs = node->inputs();
      depends = !node->blocks().empty() ||
                std::any_of(inputs.begin(), inputs.end(),
                            [this](const Value* input) { return depends_on_input(input); });
    }
    return depends_[value] = depends;
  }

  const std::shared_ptr<Graph>& graph_;
  const torch::jit::Module* module_;
  std::unordered_map<const Value*, bool> depends_;
};

}  // namespace

bool settle_fake_quant(const std::shared_ptr<Graph>& graph, PassContext& context) {
  return Settler(graph, context.module).run();
}

}  // namespace ipex_quant::passes
