/// \file
/// Implements fold_splits.
#include "passes/normalize/fold_splits.h"

#include <ATen/ops/split_with_sizes.h>

#include "passes/ir.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

/// A size as a multiple of another value.
struct Multiple {
  const Value* base;  ///< a size of a tensor
  std::int64_t factor;
};

std::optional<Multiple> multiple_of(const Value* value) {
  const Node* node = value->node();
  if (is_op(node, {"aten::size"})) return Multiple{value, 1};
  if (is_op(node, {"aten::Int", "prim::NumToTensor"})) return multiple_of(node->input(0));
  if (!is_op(node, {"aten::mul"})) return std::nullopt;
  auto inner = multiple_of(node->input(0));
  const auto factor = constant_number(node->input(1));
  if (!inner || !factor) return std::nullopt;
  inner->factor *= static_cast<std::int64_t>(*factor);
  return inner;
}

/// One size of one tensor, however often it is asked for.
bool same_size(const Value* a, const Value* b) {
  const Node* first = a->node();
  const Node* second = b->node();
  if (a == b) return true;
  if (first->inputs().size() != 2 || second->inputs().size() != 2) return false;
  const auto axis = constant_int(first->input(1));
  return first->input(0) == second->input(0) && axis && axis == constant_int(second->input(1));
}

/// Sizes that are multiples of one size of an input, as torch's attention has them: since they must
/// sum up to `total`, they are known.
std::optional<std::vector<std::int64_t>> sizes_that_sum_to(const Value* list, std::int64_t total) {
  if (!made_by(list, {"prim::ListConstruct"})) return std::nullopt;
  std::vector<std::int64_t> sizes;
  const Value* base = nullptr;
  std::int64_t sum = 0;
  for (const Value* element : list->node()->inputs()) {
    const auto multiple = multiple_of(element);
    if (!multiple || multiple->factor <= 0) return std::nullopt;
    if (base != nullptr && !same_size(base, multiple->base)) return std::nullopt;
    base = multiple->base;
    sizes.push_back(multiple->factor);
    sum += multiple->factor;
  }
  if (sum == 0 || total % sum != 0) return std::nullopt;
  for (std::int64_t& size : sizes) size *= total / sum;
  return sizes;
}

/// The parts of a constant tensor, or nothing when an argument is no constant.
std::optional<std::vector<at::Tensor>> parts_of(const Node* split) {
  const auto whole = constant_tensor(split->input(0));
  if (!whole) return std::nullopt;
  if (is_op(split, {"aten::split_with_sizes"}) && !constant_ints(split->input(1))) {
    const auto dim = constant_int(split->input(2));
    if (!dim || *dim < 0 || *dim >= whole->dim()) return std::nullopt;
    const auto sizes = sizes_that_sum_to(split->input(1), whole->size(*dim));
    if (!sizes) return std::nullopt;
    return at::split_with_sizes(*whole, *sizes, *dim);
  }
  torch::jit::Stack stack;
  for (const Value* input : split->inputs()) {
    if (const auto constant = constant_of(input)) {
      stack.push_back(*constant);
    } else if (const auto list = constant_ints(input)) {
      stack.emplace_back(*list);
    } else {
      return std::nullopt;
    }
  }
  split->getOperation()(stack);
  return stack.at(0).toTensorVector();
}

bool fold(Graph& graph, Node* unpack) {
  const Node* split = unpack->input()->node();
  if (!is_op(split, {"aten::split", "aten::split_with_sizes", "aten::chunk", "aten::unbind",
                     "aten::tensor_split", "aten::unsafe_split", "aten::unsafe_split_with_sizes",
                     "aten::unsafe_chunk"})) {
    return false;
  }
  const auto parts = parts_of(split);
  if (!parts || parts->size() != unpack->outputs().size()) return false;
  const torch::jit::WithInsertPoint guard(unpack);
  for (std::size_t i = 0; i < parts->size(); ++i) {
    replace_value(unpack->output(i), insert_constant(graph, (*parts)[i].contiguous()));
  }
  unpack->destroy();
  return true;
}

}  // namespace

bool fold_splits(const std::shared_ptr<Graph>& graph) {
  const auto written = written_values(graph);
  bool changed = false;
  for_each_node(graph->block(), [&](Node* node) {
    if (node->kind() != c10::prim::ListUnpack) return;
    for (const Value* output : node->outputs()) {
      if (written.count(output) != 0) return;
    }
    changed = fold(*graph, node) || changed;
  });
  if (changed) remove_dead(graph);
  return changed;
}

}  // namespace ipex_quant::passes
