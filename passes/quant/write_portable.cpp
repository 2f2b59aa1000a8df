/// \file
/// Implements write_portable.
#include "passes/quant/write_portable.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/passes/constant_pooling.h>

#include "passes/ir.h"
#include "passes/quant/insert_quant_dequant.h"

namespace ipex_quant::passes {

namespace {

constexpr std::int64_t kLeastCode = -128;
constexpr std::int64_t kMostCode = 127;
constexpr std::int64_t kMostByte = 255;
/// Least difference between the largest and the least of a row, as in docs/numerics.md.
constexpr double kLeastSpan = 0x1p-100;

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

/// The input of a linear layer as its kernel rounds it, each row with a scale of its own: the
/// formula of docs/numerics.md, one operator of torch for each of its own.
void write_rows(Graph& graph, Node* linear) {
  const torch::jit::WithInsertPoint guard(linear);
  const auto call = [&](const char* kind, const std::vector<Value*>& inputs) {
    Value* result = insert_call(graph, kind, inputs);
    result->node()->setSourceRange(linear->sourceRange());
    return result;
  };
  Value* x = linear->input(0);
  Value* last = insert_constant(graph, std::vector<std::int64_t>{-1});
  Value* keep = insert_constant(graph, true);
  Value* zero = insert_constant(graph, std::int64_t{0});
  Value* most = insert_constant(graph, kMostByte);
  Value* low = call("aten::clamp_max", {call("aten::amin", {x, last, keep}), zero});
  Value* high = call("aten::clamp_min", {call("aten::amax", {x, last, keep}), zero});
  Value* span =
      call("aten::clamp_min", {call("aten::sub", {high, low}), insert_constant(graph, kLeastSpan)});
  Value* scale = call("aten::mul", {span, insert_constant(graph, 1.0 / kMostByte)});
  const at::Tensor bytes = at::scalar_tensor(kMostByte, at::kFloat);
  Value* inverse = call("aten::div", {insert_constant(graph, bytes), span});
  Value* below = call("aten::mul", {call("aten::neg", {low}), inverse});
  Value* point = call("aten::round", {call("aten::clamp", {below, zero, most})});
  Value* least = call("aten::neg", {point});
  Value* limit = call("aten::rsub", {point, most});
  Value* steps = call("aten::mul", {x, inverse});
  Value* code = call("aten::round", {call("aten::clamp", {steps, least, limit})});
  linear->replaceInput(0, call("aten::mul", {code, scale}));
}

}  // namespace

bool write_portable(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for (Node* node : all_nodes(graph)) {
    if (is_op(node, {"ipex_quant::dequantize_weight"})) {
      write_weight(*graph, node);
    } else if (is_op(node, {"ipex_quant::dequantize"})) {
      write_pair(*graph, node);
    } else if (is_op(node, {"aten::linear"}) && node->hasAttribute(run_time_attr())) {
      write_rows(*graph, node);
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
