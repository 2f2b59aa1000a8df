/// \file
/// Implements write_portable.
#include "passes/quant/write_portable.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/passes/constant_pooling.h>

#include <unordered_map>

#include "passes/ir.h"
#include "passes/quant/capability.h"
#include "passes/quant/portable_functions.h"

namespace ipex_quant::passes {

namespace {

constexpr std::int64_t kLeastCode = -128;
constexpr std::int64_t kMostCode = 127;
constexpr std::int64_t kMostByte = 255;

/// The int8 codes behind dequantize_weight: a constant, or quantize_weight of constants.
at::Tensor codes_of(const Value* value) {
  if (const auto constant = constant_tensor(value)) return *constant;
  TORCH_CHECK(made_by(value, {"ipex_quant::quantize_weight"}), "dequantize_weight reads ",
              value->node()->kind().toQualString(), ", expected a constant or quantize_weight");
  torch::jit::Stack stack;
  for (const Value* input : value->node()->inputs()) stack.push_back(constant_of(input).value());
  value->node()->getOperation()(stack);
  return stack.at(0).toTensor();
}

void write_weight(Graph& graph, Node* node) {
  const torch::jit::WithInsertPoint guard(node);
  const at::Tensor codes = codes_of(node->input(0));
  const at::Tensor scales = constant_tensor(node->input(1)).value().flatten();
  const std::int64_t axis = constant_int(node->input(2)).value();
  std::vector<std::int64_t> shape(static_cast<std::size_t>(codes.dim()), 1);
  const bool per_channel = scales.numel() > 1;
  if (per_channel) shape[static_cast<std::size_t>(axis)] = scales.numel();
  const at::Tensor values = codes.to(at::kFloat) * scales.view(shape);
  Value* least = insert_constant(graph, kLeastCode);
  Value* most = insert_constant(graph, kMostCode);
  Value* weight = insert_constant(graph, values.contiguous());
  Value* result = nullptr;
  if (per_channel) {
    const at::Tensor zeros = at::zeros({scales.numel()}, at::kInt);
    result = insert_call(graph, "aten::fake_quantize_per_channel_affine",
                         {weight, insert_constant(graph, scales.contiguous()),
                          insert_constant(graph, zeros), node->input(2), least, most});
  } else {
    result = insert_call(graph, "aten::fake_quantize_per_tensor_affine",
                         {weight, insert_constant(graph, scales.item<double>()),
                          insert_constant(graph, std::int64_t{0}), least, most});
  }
  inherit(result->node(), {node});
  replace_node(node, result);
}

void write_pair(Graph& graph, Node* dequantize) {
  Value* q = dequantize->input(0);
  TORCH_CHECK(made_by(q, {"ipex_quant::quantize"}), "dequantize reads ",
              q->node()->kind().toQualString(), ", expected quantize");
  const torch::jit::WithInsertPoint guard(dequantize);
  Value* result =
      insert_call(graph, "aten::fake_quantize_per_tensor_affine",
                  {q->node()->input(0), dequantize->input(1), dequantize->input(2),
                   insert_constant(graph, std::int64_t{0}), insert_constant(graph, kMostByte)});
  inherit(result->node(), {q->node(), dequantize});
  replace_node(dequantize, result);
}

/// Writes what the kernels round at run time.
class RunTimeWriter {
 public:
  explicit RunTimeWriter(Graph& graph) : graph_(graph) {}

  /// The linear layers that read one value share what it is rounded to.
  void write_linear(Node* linear) {
    Value* x = linear->input(0);
    const bool whole = linear->i(run_time_attr()) == kScalePerTensor;
    auto [place, is_new] = (whole ? tensors_ : rows_).try_emplace(x, nullptr);
    if (is_new) {
      const torch::jit::WithInsertPoint guard(after(x));
      Value* levels = insert_constant(graph_, static_cast<double>(kMostByte));
      place->second = call_portable(graph_, whole ? "round_tensor" : "round_rows", {x, levels});
      place->second->node()->setSourceRange(linear->sourceRange());
    }
    linear->replaceInput(0, place->second);
  }

  /// The hidden state of an lstm or gru, and its input unless that has a pair.
  void write_recurrent(Node* node) {
    const torch::jit::WithInsertPoint guard(node);
    std::vector<Value*> inputs = node->inputs().vec();
    inputs.push_back(insert_constant(graph_, node->hasAttribute(run_time_attr())));
    std::string function = node->kind().toUnqualString();
    if (argument(node, "batch_sizes") != nullptr) function += "_packed";
    Value* results = call_portable(graph_, function.c_str(), inputs);
    inherit(results->node(), {node});
    Node* unpack = graph_.insertNode(graph_.createTupleUnpack(results));
    for (std::size_t i = 0; i < node->outputs().size(); ++i) {
      node->output(i)->replaceAllUsesWith(unpack->output(i));
    }
    node->destroy();
  }

 private:
  Graph& graph_;
  std::unordered_map<Value*, Value*> rows_;  ///< what is rounded, by its source
  std::unordered_map<Value*, Value*> tensors_;
};

bool has_int8_weights(const Node* node) {
  const Value* weights = node->input(recurrent_weights_index(node));
  const auto rounded = [](const Value* value) {
    return made_by(
        value, {"aten::fake_quantize_per_channel_affine", "aten::fake_quantize_per_tensor_affine"});
  };
  const auto inputs = weights->node()->inputs();
  return std::any_of(inputs.begin(), inputs.end(), rounded);
}

}  // namespace

bool write_portable(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  RunTimeWriter run_time(*graph);
  for (Node* node : all_nodes(graph)) {
    if (is_op(node, {"ipex_quant::dequantize_weight"})) {
      write_weight(*graph, node);
    } else if (is_op(node, {"ipex_quant::dequantize"})) {
      write_pair(*graph, node);
    } else if (is_op(node, {"aten::linear"}) && node->hasAttribute(run_time_attr())) {
      run_time.write_linear(node);
    } else if (kernel_of(node) == Kernel::kRecurrent && has_int8_weights(node)) {
      run_time.write_recurrent(node);
    } else {
      continue;
    }
    changed = true;
  }
  if (changed) {
    remove_dead(graph);
    torch::jit::ConstantPooling(graph);
  }
  return changed;
}

}  // namespace ipex_quant::passes
