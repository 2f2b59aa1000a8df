/// \file
/// Implements unflatten_linear.
#include "passes/normalize/unflatten_linear.h"

#include <ATen/core/Tensor.h>

#include "passes/ir.h"
#include "passes/quant/shapes.h"

namespace ipex_quant::passes {

namespace {

/// The entries of the sizes of a reshape; empty when they are not listed.
std::vector<Value*> entries_of(Graph& graph, Value* sizes) {
  std::vector<Value*> entries;
  if (const auto constants = constant_ints(sizes)) {
    for (const std::int64_t size : *constants) entries.push_back(insert_constant(graph, size));
  } else if (made_by(sizes, {"prim::ListConstruct"})) {
    entries = sizes->node()->inputs().vec();
  }
  return entries;
}

/// Reads of the last size of the rows, which may read a constant instead.
bool reads_last_size(const Node* node) {
  if (!is_op(node, {"aten::size"}) || node->inputs().size() != 2) return false;
  const auto dim = constant_int(node->input(1));
  return dim == std::optional<std::int64_t>(-1) || dim == std::optional<std::int64_t>(1);
}

class Unflattener {
 public:
  Unflattener(Graph& graph, Node* linear) : graph_(graph), linear_(linear) {}

  bool run() {
    const auto weight = constant_tensor(linear_->input(1));
    if (!weight || weight->dim() != 2 || !finds_reshapes()) return false;
    const torch::jit::WithInsertPoint guard(behind_);
    std::vector<Value*> sizes = entries_of(graph_, behind_->input(1));
    if (sizes.empty() || shapes_.int_text(sizes.back()) != std::to_string(weight->size(0))) {
      return false;
    }
    for (Node* query : queries_) {
      Value* size = insert_constant(graph_, weight->size(0));
      size->node()->moveBefore(query);
      replace_node(query, size);
    }
    sizes.back() = insert_constant(graph_, weight->size(1));
    Value* input = input_of(sizes);
    Node* linear = graph_.insertNode(graph_.createClone(linear_, [](Value* v) { return v; }));
    linear->replaceInput(0, input);
    replace_node(behind_, linear->output());
    linear_->destroy();
    return true;
  }

 private:
  /// The linear between two reshapes, that in front to rows; nothing else reads its rows.
  bool finds_reshapes() {
    Node* front = linear_->input(0)->node();
    if (!is_op(front, {"aten::reshape"})) return false;
    const auto rows = entry_count(front->input(1));
    for (const torch::jit::Use& use : linear_->output()->uses()) {
      if (rows == 2 && reads_last_size(use.user)) {
        queries_.push_back(use.user);
      } else if (behind_ == nullptr && is_op(use.user, {"aten::reshape"}) && use.offset == 0) {
        behind_ = use.user;
      } else {
        return false;
      }
    }
    front_ = front;
    return behind_ != nullptr && behind_->owningBlock() == linear_->owningBlock();
  }

  static std::size_t entry_count(const Value* sizes) {
    if (const auto constants = constant_ints(sizes)) return constants->size();
    return made_by(sizes, {"prim::ListConstruct"}) ? sizes->node()->inputs().size() : 0;
  }

  /// What was flattened, with these sizes: if all but the last are its own, the last is, too.
  Value* input_of(const std::vector<Value*>& sizes) {
    Value* source = front_->input(0);
    const Shape shape = shapes_.of(source).with_rank(sizes.size());
    bool same = shape.ranked && shape.dims.size() == sizes.size();
    for (std::size_t i = 0; same && i + 1 < sizes.size(); ++i) {
      same = shape.dims[i] == shapes_.int_text(sizes[i]);
    }
    if (same) return source;
    Node* list = graph_.insertNode(graph_.createList(c10::IntType::get(), sizes));
    Value* moved = insert_call(graph_, "aten::reshape", {source, list->output()});
    inherit(moved->node(), {front_, behind_});
    return moved;
  }

  Graph& graph_;
  Shapes shapes_;  // of the graph as the linears before left it
  Node* linear_;
  Node* front_ = nullptr;
  Node* behind_ = nullptr;
  std::vector<Node*> queries_;
};

}  // namespace

bool unflatten_linear(const std::shared_ptr<Graph>& graph) {
  std::vector<Node*> linears;  // a reshape goes with each of them
  for (Node* node : all_nodes(graph)) {
    if (is_op(node, {"aten::linear"})) linears.push_back(node);
  }
  bool changed = false;
  for (Node* linear : linears) changed |= Unflattener(*graph, linear).run();
  if (changed) remove_dead(graph);
  return changed;
}

}  // namespace ipex_quant::passes
