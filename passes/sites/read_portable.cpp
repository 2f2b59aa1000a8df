/// \file
/// Implements read_portable.
#include "passes/sites/read_portable.h"

#include <algorithm>

#include "passes/quant/portable_functions.h"

namespace ipex_quant::passes {

namespace {

/// What linear_dynamic computes: its weight is int8, its rows have the 256 codes of a byte.
bool is_rounded_linear(const torch::jit::Use& use) {
  return use.offset == 0 && is_op(use.user, {"aten::linear"}) &&
         made_by(use.user->input(1), {"aten::fake_quantize_per_channel_affine",
                                      "aten::fake_quantize_per_tensor_affine"});
}

Node* read_rounded(Node* call, std::int64_t scales) {
  Value* x = call->input(1);
  const auto uses = call->output()->uses();
  const bool bytes = constant_number(call->input(2)) == std::optional<double>(255);
  if (!bytes || !std::all_of(uses.begin(), uses.end(), is_rounded_linear)) return nullptr;
  for (const torch::jit::Use& use : uses) use.user->i_(run_time_attr(), scales);
  call->output()->replaceAllUsesWith(x);
  Node* next = call->next();
  call->destroy();
  return next;
}

Node* read_recurrent(Node* call, const char* op) {
  const auto rounds_input = constant_bool(call->inputs().back());
  if (!rounds_input) return nullptr;
  Graph& graph = *call->owningGraph();
  const torch::jit::WithInsertPoint guard(call);
  const auto inputs = call->inputs();
  Node* node = insert_call(graph, op, {inputs.begin() + 1, inputs.end() - 1})->node();
  node->setSourceRange(call->sourceRange());
  if (*rounds_input) node->i_(run_time_attr(), kScalePerRow);
  Node* results = graph.insertNode(graph.createTuple(node->outputs()));
  call->output()->replaceAllUsesWith(results->output());
  call->destroy();
  return node;
}

}  // namespace

Node* read_portable(Node* node) {
  const std::string function = portable_function(node);
  if (function == "round_rows") return read_rounded(node, kScalePerRow);
  if (function == "round_tensor") return read_rounded(node, kScalePerTensor);
  if (function == "lstm" || function == "lstm_packed") return read_recurrent(node, "aten::lstm");
  if (function == "gru" || function == "gru_packed") return read_recurrent(node, "aten::gru");
  return nullptr;
}

}  // namespace ipex_quant::passes
