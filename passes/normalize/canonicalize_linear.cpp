/// \file
/// Implements canonicalize_linear.
#include "passes/normalize/canonicalize_linear.h"

#include <ATen/core/Tensor.h>

#include "passes/ir.h"

namespace ipex_quant::passes {

namespace {

bool is_float_matrix(const std::optional<at::Tensor>& tensor) {
  return tensor && tensor->dim() == 2 && tensor->scalar_type() == at::kFloat;
}

/// A constant that adds one number to each of `out` columns, as a vector [out].
std::optional<at::Tensor> as_bias(const Value* value, std::int64_t out) {
  const auto tensor = constant_tensor(value);
  const bool is_row = tensor && tensor->dim() == 1 && tensor->size(0) == out;
  if (!is_row || tensor->scalar_type() != at::kFloat) {
    return std::nullopt;
  }
  return tensor;
}

bool is_one(const Value* value) { return constant_number(value) == std::optional<double>(1.0); }

Node* insert_linear(Graph& graph, Value* input, const at::Tensor& weight, const c10::IValue& bias) {
  return insert_call(graph, "aten::linear",
                     {input, insert_constant(graph, weight), insert_constant(graph, bias)})
      ->node();
}

at::Tensor transposed(const at::Tensor& matrix) { return matrix.t().contiguous(); }

void replace(Node* node, Node* linear) {
  inherit(linear, {node});
  linear->output()->setType(node->output()->type());
  replace_node(node, linear->output());
}

bool rewrite_addmm(Graph& graph, Node* node) {
  const auto weight = constant_tensor(node->input(2));
  if (!is_float_matrix(weight)) {
    set_reason(node, "the matrix of addmm is not a constant");
    return false;
  }
  const auto bias = as_bias(node->input(0), weight->size(1));
  if (!bias || !is_one(node->input(3)) || !is_one(node->input(4))) {
    set_reason(node, "addmm with a bias that is no constant vector, or with factors other than 1");
    return false;
  }
  replace(node, insert_linear(graph, node->input(1), transposed(*weight), *bias));
  return true;
}

bool rewrite_matmul(Graph& graph, Node* node) {
  const auto weight = constant_tensor(node->input(1));
  if (!is_float_matrix(weight) || constant_tensor(node->input(0))) {
    return false;
  }
  replace(node, insert_linear(graph, node->input(0), transposed(*weight), c10::IValue()));
  return true;
}

/// add(linear(x, w, None), b) or add(b, linear(x, w, None)).
bool rewrite_add(Graph& graph, Node* node) {
  if (node->inputs().size() != 3 || !is_one(node->input(2))) {
    return false;
  }
  for (const std::size_t side : {0, 1}) {
    Value* product = node->input(side);
    if (!made_by(product, {"aten::linear"}) || only_user(product) != node) {
      continue;
    }
    Node* linear = product->node();
    const auto weight = constant_tensor(linear->input(1));
    if (!is_float_matrix(weight) || !is_none(linear->input(2))) {
      continue;
    }
    const auto bias = as_bias(node->input(1 - side), weight->size(0));
    if (!bias) {
      continue;
    }
    Node* fused = insert_linear(graph, linear->input(0), *weight, *bias);
    inherit(fused, {linear, node});
    replace_node(node, fused->output());
    linear->destroy();
    return true;
  }
  return false;
}

}  // namespace

bool canonicalize_linear(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for_each_node(graph->block(), [&](Node* node) {
    const torch::jit::WithInsertPoint guard(node);
    if (is_op(node, {"aten::addmm"}) && node->inputs().size() == 5) {
      changed = rewrite_addmm(*graph, node) || changed;
    } else if (is_op(node, {"aten::matmul", "aten::mm"})) {
      changed = rewrite_matmul(*graph, node) || changed;
    } else if (is_op(node, {"aten::add"})) {
      changed = rewrite_add(*graph, node) || changed;
    }
  });
  if (changed) {
    remove_dead(graph);
  }
  return changed;
}

}  // namespace ipex_quant::passes
