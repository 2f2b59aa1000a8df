// Implements follow_folded_norms and fold_factors.
#include "passes/quant/fold_factors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <unordered_map>

#include "passes/ir.h"
#include "passes/normalize/fold_batch_norm.h"

namespace ipex_quant::passes {

namespace {

using Entries = std::unordered_map<std::string, SiteParams*>;

Entries int8_entries(std::vector<SiteParams>& sites) {
  Entries entries;
  for (SiteParams& site : sites) {
    if (site.int8) entries.emplace(site.site, &site);
  }
  return entries;
}

OperandParams* operand(SiteParams* site, const std::string& name) {
  if (site == nullptr) return nullptr;
  const auto found = std::find_if(site->operands.begin(), site->operands.end(),
                                  [&](const OperandParams& params) { return params.name == name; });
  return found == site->operands.end() ? nullptr : &*found;
}

/// The int8 site of a linear layer, or nullptr.
SiteParams* linear_site(const Entries& entries, const Node* node) {
  if (!is_op(node, {"aten::linear"})) return nullptr;
  const auto found = entries.find(site_of(node).value_or(""));
  return found == entries.end() ? nullptr : found->second;
}

/// What a linear layer divides its input by; undefined for anything else.
at::Tensor factor_of(const Entries& entries, const Node* node) {
  const OperandParams* input = operand(linear_site(entries, node), "input");
  return input == nullptr ? at::Tensor() : input->channel_factor;
}

/// Readers of a value, without those that look at its shape alone.
std::vector<Node*> readers_of(const Value* value) {
  std::vector<Node*> readers;
  for (const torch::jit::Use& use : value->uses()) {
    if (!is_op(use.user, {"aten::size", "aten::dim", "prim::shape", "aten::sym_size"})) {
      readers.push_back(use.user);
    }
  }
  return readers;
}

/// Where a producer has the constants that make the channels of its output.
std::vector<std::size_t> constants_of(const Node* producer) {
  if (is_op(producer, {"aten::layer_norm"})) return {2, 3};
  if (is_op(producer, {"aten::rms_norm"})) return {2};
  if (is_op(producer, {"aten::mul"})) return {1};
  if (is_op(producer, {"aten::linear"})) return {1, 2};
  return {};
}

bool takes_factor(const Node* producer, std::size_t index, std::int64_t channels) {
  if (is_none(producer->input(index))) {
    // A norm without weight has nothing to hold the factor.
    return index != 2 || !is_op(producer, {"aten::layer_norm", "aten::rms_norm"});
  }
  const auto constant = constant_tensor(producer->input(index));
  if (!constant || constant->dim() == 0) return false;
  if (is_op(producer, {"aten::linear"})) return constant->size(0) == channels;
  return constant->dim() == 1 && constant->size(0) == channels;
}

bool can_fold(const Entries& entries, const Node* producer, const std::vector<Node*>& readers,
              std::int64_t channels) {
  const auto constants = constants_of(producer);
  if (constants.empty() || producer->outputs().size() != 1) return false;
  for (const Node* reader : readers) {
    if (!constant_tensor(reader->input(1))) return false;
  }
  for (const std::size_t index : constants) {
    if (!takes_factor(producer, index, channels)) return false;
  }
  // One scale for all rows cannot follow rows that are divided differently.
  const OperandParams* weight = operand(linear_site(entries, producer), "weight");
  return weight == nullptr || weight->scales.numel() == channels;
}

void replace_constant(Graph& graph, Node* node, std::size_t index, const at::Tensor& constant) {
  const torch::jit::WithInsertPoint guard(node);
  node->replaceInput(index, insert_constant(graph, constant.contiguous()));
}

void fold(Graph& graph, const Entries& entries, Node* producer, const std::vector<Node*>& readers,
          const at::Tensor& factor) {
  const bool rows = is_op(producer, {"aten::linear"});
  for (const std::size_t index : constants_of(producer)) {
    const auto constant = constant_tensor(producer->input(index));
    if (!constant) continue;
    std::vector<std::int64_t> shape(rows ? constant->dim() : 1, 1);
    shape[0] = -1;
    replace_constant(graph, producer, index, *constant / factor.reshape(shape));
  }
  SiteParams* site = linear_site(entries, producer);
  if (OperandParams* weight = operand(site, "weight")) {
    weight->scales = weight->scales / factor;  // the same codes with other scales
    if (site->bias_correction.defined()) site->bias_correction = site->bias_correction / factor;
  }
  for (Node* reader : readers) {
    replace_constant(graph, reader, 1, *constant_tensor(reader->input(1)) * factor);
    operand(linear_site(entries, reader), "input")->channel_factor = at::Tensor();
  }
}

/// The values that some linear layer of the graph divides by a factor, each once.
std::vector<Value*> divided_values(const std::shared_ptr<Graph>& graph, const Entries& entries) {
  std::vector<Value*> values;
  for (Node* node : graph->nodes()) {
    if (!factor_of(entries, node).defined()) continue;
    Value* value = node->input(0);
    if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
  }
  return values;
}

}  // namespace

void follow_folded_norms(const std::shared_ptr<Graph>& graph, std::vector<SiteParams>& sites) {
  const Entries entries = int8_entries(sites);
  for (const Node* node : graph->nodes()) {
    const auto found = entries.find(site_of(node).value_or(""));
    if (found == entries.end() || !node->hasAttribute(weight_factor_attr())) continue;
    const at::Tensor factor = node->t(weight_factor_attr()).to(at::kFloat);
    if (OperandParams* weight = operand(found->second, "weight")) {
      const at::Tensor scales = weight->scales * factor.abs();
      // A channel that the norm switched off is all zeros; any scale does.
      weight->scales = at::where(scales > 0, scales, at::ones_like(scales));
    }
    at::Tensor& correction = found->second->bias_correction;
    if (correction.defined()) correction = correction * factor;
  }
}

void fold_factors(const std::shared_ptr<Graph>& graph, std::vector<SiteParams>& sites) {
  const Entries entries = int8_entries(sites);
  for (Value* value : divided_values(graph, entries)) {
    const std::vector<Node*> readers = readers_of(value);
    const at::Tensor factor = readers.empty() ? at::Tensor() : factor_of(entries, readers[0]);
    if (!factor.defined()) continue;
    const bool same = std::all_of(readers.begin(), readers.end(), [&](const Node* reader) {
      const at::Tensor other = factor_of(entries, reader);
      return other.defined() && other.equal(factor);
    });
    if (same && can_fold(entries, value->node(), readers, factor.numel())) {
      fold(*graph, entries, value->node(), readers, factor);
    }
  }
}

}  // namespace ipex_quant::passes
