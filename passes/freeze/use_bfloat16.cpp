// Implements use_bfloat16.
#include "passes/freeze/use_bfloat16.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/passes/constant_pooling.h>

#include <algorithm>
#include <unordered_map>

#include "passes/fusion/known_float.h"
#include "passes/ir.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

bool is_heavy(const Node* node) {
  return is_op(node, {"aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::conv_transpose1d",
                      "aten::conv_transpose2d", "aten::conv_transpose3d", "aten::linear",
                      "aten::matmul", "aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm",
                      "aten::lstm", "aten::gru"});
}

/// A new tensor of float32, such as the first state of an LSTM.
bool is_made_float(const Value* value) {
  if (!made_by(value, {"aten::zeros", "aten::ones", "aten::full"})) return false;
  const Value* dtype = argument(value->node(), "dtype");
  return dtype != nullptr && constant_int(dtype) == static_cast<std::int64_t>(at::kFloat);
}

bool is_tensor(const Value* value) { return value->type()->isSubtypeOf(*c10::TensorType::get()); }
bool is_list(const Value* value) { return value->type()->isSubtypeOf(*c10::ListType::ofTensors()); }

class Lowering {
 public:
  explicit Lowering(const std::shared_ptr<Graph>& graph)
      : graph_(graph), written_(written_values(graph)) {}

  bool run() {
    bool changed = false;
    for (Node* node : all_nodes(graph_)) {
      const bool done = node->hasAttribute(bfloat16_attr());
      if (done || !is_heavy(node) || !can_lower(node)) continue;
      lower(node);
      changed = true;
    }
    if (changed) {
      remove_dead(graph_);
      torch::jit::ConstantPooling(graph_);
    }
    return changed;
  }

 private:
  bool is_float(const Value* value) const {
    return written_.count(value) == 0 &&
           (back_.count(value) != 0 || is_made_float(value) || is_known_float(value));
  }

  bool can_lower(const Node* node) const {
    for (const Value* input : node->inputs()) {
      if (is_tensor(input)) {
        if (!is_none(input) && !is_float(input)) return false;
      } else if (is_list(input)) {
        if (!list_is_float(input)) return false;
      }
    }
    return std::all_of(node->outputs().begin(), node->outputs().end(),
                       [this](const Value* output) { return written_.count(output) == 0; });
  }

  bool list_is_float(const Value* list) const {
    if (const auto constant = constant_of(list)) {
      const auto tensors = constant->toTensorVector();
      return std::all_of(tensors.begin(), tensors.end(),
                         [](const at::Tensor& t) { return t.scalar_type() == at::kFloat; });
    }
    if (!made_by(list, {"prim::ListConstruct"})) return false;
    const auto elements = list->node()->inputs();
    return std::all_of(elements.begin(), elements.end(),
                       [this](const Value* element) { return is_float(element); });
  }

  void lower(Node* node) {
    for (std::size_t i = 0; i < node->inputs().size(); ++i) {
      Value* input = node->input(i);
      const torch::jit::WithInsertPoint guard(node);
      if (is_list(input)) {
        node->replaceInput(i, lowered_list(input));
      } else if (is_tensor(input) && !is_none(input)) {
        node->replaceInput(i, lowered(input));
      }
    }
    node->i_(bfloat16_attr(), 1);
    const torch::jit::WithInsertPoint guard(node->next());
    for (Value* output : node->outputs()) {
      if (!output->hasUses()) continue;
      const auto uses = output->uses();
      Value* back = insert_call(*graph_, "aten::to", {output, dtype(at::kFloat)});
      for (const torch::jit::Use& use : uses) use.user->replaceInput(use.offset, back);
      back_[back] = output;
    }
  }

  Value* dtype(at::ScalarType type) {
    return insert_constant(*graph_, static_cast<std::int64_t>(type));
  }

  Value* lowered_list(Value* list) {
    std::vector<Value*> elements;
    if (const auto constant = constant_of(list)) {
      for (const at::Tensor& tensor : constant->toTensorVector()) {
        elements.push_back(insert_constant(*graph_, tensor.to(at::kBFloat16)));
      }
    } else {
      for (Value* element : list->node()->inputs()) elements.push_back(lowered(element));
    }
    return graph_->insertNode(graph_->createList(c10::TensorType::get(), elements))->output();
  }

  /// The value in bfloat16: made where the value is, so that all its readers share it.
  Value* lowered(Value* value) {
    if (const auto constant = constant_tensor(value)) {
      return insert_constant(*graph_, constant->to(at::kBFloat16));
    }
    const auto direct = back_.find(value);
    if (direct != back_.end()) return direct->second;
    Value*& known = lowered_[value];
    if (known == nullptr) {
      Node* maker = value->node();
      Node* below = maker->kind() == c10::prim::Param ? *maker->owningBlock()->nodes().begin()
                                                      : maker->next();
      const torch::jit::WithInsertPoint guard(below);
      known = insert_call(*graph_, "aten::to", {value, dtype(at::kBFloat16)});
    }
    return known;
  }

  const std::shared_ptr<Graph>& graph_;
  std::unordered_set<const Value*> written_;
  std::unordered_map<const Value*, Value*> back_;     ///< float32 copies of results
  std::unordered_map<const Value*, Value*> lowered_;  ///< bfloat16 copies of values
};

}  // namespace

c10::Symbol bfloat16_attr() { return c10::Symbol::attr("iq_bfloat16"); }

bool use_bfloat16(const std::shared_ptr<Graph>& graph) { return Lowering(graph).run(); }

}  // namespace ipex_quant::passes
