// Implements insert_quant_dequant: writes a plan into the graph.
#include "passes/quant/insert_quant_dequant.h"

#include <torch/csrc/jit/passes/constant_pooling.h>

#include <algorithm>
#include <map>

#include "passes/ir.h"
#include "passes/quant/capability.h"
#include "passes/quant/plan.h"
#include "passes/quant/quantize_weights.h"

namespace ipex_quant::passes {

namespace {

using torch::jit::WithInsertPoint;

Value* insert_pair(Graph& graph, Value* value, const QParams& qparams) {
  Value* scale = insert_constant(graph, qparams.scale);
  Value* zero_point = insert_constant(graph, qparams.zero_point);
  Value* q = insert_call(graph, "ipex_quant::quantize", {value, scale, zero_point});
  return insert_call(graph, "ipex_quant::dequantize", {q, scale, zero_point});
}

void write_value(Graph& graph, const QuantizedValue& quantized) {
  const WithInsertPoint guard(after(quantized.value));
  const auto uses = quantized.value->uses();
  Value* pair = insert_pair(graph, quantized.value, quantized.qparams);
  for (const torch::jit::Use& use : uses) use.user->replaceInput(use.offset, pair);
}

/// Inserts the pairs at op inputs. Two ops that divide one value by the same factor share the mul.
class EdgeWriter {
 public:
  explicit EdgeWriter(Graph& graph) : graph_(graph) {}

  void write(const QuantizedEdge& edge) {
    Value* value = edge.reader->input(edge.index);
    if (edge.factor.defined()) value = divided(value, edge);
    const WithInsertPoint guard(edge.reader);
    const auto key = std::make_tuple(value, edge.reader, edge.qparams.scale);
    auto [place, is_new] = pairs_.try_emplace(key, nullptr);
    if (is_new) place->second = insert_pair(graph_, value, edge.qparams);
    edge.reader->replaceInput(edge.index, place->second);
  }

 private:
  Value* divided(Value* value, const QuantizedEdge& edge) {
    for (const auto& [source, factor, result] : divided_) {
      if (source == value && factor.equal(edge.factor) && result->node()->isBefore(edge.reader)) {
        return result;
      }
    }
    const WithInsertPoint guard(edge.reader);
    Value* inverse = insert_constant(graph_, factor_for_input(edge.op, edge.factor));
    Value* result = insert_call(graph_, "aten::mul", {value, inverse});
    divided_.emplace_back(value, edge.factor, result);
    return result;
  }

  Graph& graph_;
  std::map<std::tuple<Value*, Node*, double>, Value*> pairs_;
  std::vector<std::tuple<Value*, at::Tensor, Value*>> divided_;
};

/// Notes on a node that its kernel scales the input.
void note_run_time(Node* node, const SiteParams& site) {
  for (const OperandParams& operand : site.operands) {
    if (operand.mode != "dynamic") continue;
    const bool whole = operand.per_tensor && kernel_of(node) == Kernel::kLinear;
    node->i_(run_time_attr(), whole ? kScalePerTensor : kScalePerRow);
  }
}

}  // namespace

bool insert_quant_dequant(const std::shared_ptr<Graph>& graph, PassContext& context) {
  TORCH_CHECK(context.sites != nullptr, "insert-quant-dequant needs the sites of the model");
  const Plan plan = make_plan(graph, *context.sites);
  for (const auto& [node, reason] : plan.reasons) set_reason(node, reason);
  for (const auto& [node, site] : plan.weights) {
    note_run_time(node, *site);
    quantize_weights(*graph, node, *site);
  }
  EdgeWriter edges(*graph);
  for (const QuantizedEdge& edge : plan.edges) edges.write(edge);
  for (const QuantizedValue& value : plan.values) write_value(*graph, value);
  for (Node* norm : plan.norms) quantize_batch_norm(*graph, norm);
  const bool changed = !plan.edges.empty() || !plan.values.empty() || !plan.weights.empty();
  if (changed) {
    remove_dead(graph);
    torch::jit::ConstantPooling(graph);
  }
  return changed;
}

}  // namespace ipex_quant::passes
