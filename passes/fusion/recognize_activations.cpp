// Implements recognize_activations.
#include "passes/fusion/recognize_activations.h"

#include <cmath>

#include "passes/ir.h"

namespace ipex_quant::passes {

namespace {

/// A function found: its op, its input and the nodes that wrote it out, innermost first.
struct Found {
  const char* op;
  Value* x;
  std::vector<Node*> nodes;
};

bool near(const std::optional<double>& value, double expected) {
  return value && std::abs(*value - expected) < 1e-4 * std::abs(expected);
}

bool has_alpha_one(const Node* node) {
  return node->inputs().size() < 3 || near(constant_number(node->input(2)), 1);
}

/// value = x * c or x / (1 / c) for a number c: x, else nullptr.
Value* times(Value* value, double factor) {
  Node* node = value->node();
  if (is_op(node, {"aten::mul"})) {
    for (const std::size_t i : {0, 1}) {
      if (near(constant_number(node->input(i)), factor)) return node->input(1 - i);
    }
  }
  const bool divides = is_op(node, {"aten::div"}) && node->inputs().size() == 2;
  if (divides && near(constant_number(node->input(1)), 1 / factor)) return node->input(0);
  return nullptr;
}

/// value = x + c: x, else nullptr.
Value* plus(Value* value, double addend) {
  Node* node = value->node();
  if (!is_op(node, {"aten::add"}) || !has_alpha_one(node)) return nullptr;
  for (const std::size_t i : {0, 1}) {
    if (near(constant_number(node->input(i)), addend)) return node->input(1 - i);
  }
  return nullptr;
}

/// value = clamp(x + 3, 0, 6): x, else nullptr; adds the nodes.
Value* clamped_x_plus_3(Value* value, std::vector<Node*>& nodes) {
  Node* node = value->node();
  const bool bounds = is_op(node, {"aten::hardtanh", "aten::clamp"}) &&
                      constant_number(node->input(1)) == std::optional<double>(0.0) &&
                      near(constant_number(node->input(2)), 6);
  if (!is_op(node, {"aten::relu6"}) && !bounds) return nullptr;
  Value* x = plus(node->input(0), 3);
  if (x == nullptr) return nullptr;
  nodes.push_back(node->input(0)->node());
  nodes.push_back(node);
  return x;
}

/// A gate g(x) that makes an activation as x * g(x).
std::optional<Found> gate(Value* value) {
  Node* node = value->node();
  if (is_op(node, {"aten::sigmoid"})) return Found{"aten::silu", node->input(0), {node}};
  if (is_op(node, {"aten::hardsigmoid"})) return Found{"aten::hardswish", node->input(0), {node}};
  if (is_op(node, {"aten::tanh"}) && made_by(node->input(0), {"aten::softplus"})) {
    Node* softplus = node->input(0)->node();
    const bool plain = near(constant_number(softplus->input(1)), 1);
    if (plain) return Found{"aten::mish", softplus->input(0), {softplus, node}};
  }
  if (Value* clamped = times(value, 1.0 / 6)) {
    std::vector<Node*> nodes;
    if (Value* x = clamped_x_plus_3(clamped, nodes)) {
      nodes.push_back(node);
      return Found{"aten::hardswish", x, nodes};
    }
  }
  return std::nullopt;
}

/// (x * relu6(x + 3)) / 6
std::optional<Found> hardswish_divided_last(Node* node) {
  Value* product = times(node->output(), 1.0 / 6);
  if (product == nullptr || !made_by(product, {"aten::mul"})) return std::nullopt;
  Node* mul = product->node();
  for (const std::size_t i : {0, 1}) {
    std::vector<Node*> nodes;
    if (clamped_x_plus_3(mul->input(i), nodes) == mul->input(1 - i)) {
      nodes.push_back(mul);
      return Found{"aten::hardswish", mul->input(1 - i), nodes};
    }
  }
  return std::nullopt;
}

/// 1 + erf(x / sqrt 2): x, else nullptr.
Value* one_plus_erf(Value* value, std::vector<Node*>& nodes) {
  Value* erf = plus(value, 1);
  if (erf == nullptr || !made_by(erf, {"aten::erf"})) return nullptr;
  nodes = {erf->node()->input(0)->node(), erf->node(), value->node()};
  return times(erf->node()->input(0), std::sqrt(0.5));
}

/// (x / 2) * (1 + erf), x * ((1 + erf) / 2) or (x * (1 + erf)) / 2
std::optional<Found> gelu(Node* node) {
  std::vector<Node*> nodes;
  if (Value* product = times(node->output(), 0.5); product && made_by(product, {"aten::mul"})) {
    for (const std::size_t i : {0, 1}) {
      Node* mul = product->node();
      if (one_plus_erf(mul->input(i), nodes) == mul->input(1 - i)) {
        nodes.push_back(mul);
        return Found{"aten::gelu", mul->input(1 - i), nodes};
      }
    }
  }
  if (!is_op(node, {"aten::mul"})) return std::nullopt;
  for (const std::size_t i : {0, 1}) {
    Value* gate = node->input(i);
    Value* other = node->input(1 - i);
    Value* x = one_plus_erf(gate, nodes);
    if (x != nullptr && times(other, 0.5) == x) {
      nodes.push_back(other->node());
      return Found{"aten::gelu", x, nodes};
    }
    Value* doubled = times(gate, 0.5);
    if (doubled != nullptr && one_plus_erf(doubled, nodes) == other) {
      nodes.push_back(gate->node());
      return Found{"aten::gelu", other, nodes};
    }
  }
  return std::nullopt;
}

std::optional<Found> find(Node* node) {
  if (is_op(node, {"aten::mul"})) {
    for (const std::size_t i : {0, 1}) {
      auto found = gate(node->input(i));
      if (found && found->x == node->input(1 - i)) return found;
    }
  }
  if (!is_op(node, {"aten::mul", "aten::div"})) return std::nullopt;
  if (auto found = hardswish_divided_last(node)) return found;
  return gelu(node);
}

}  // namespace

bool recognize_activations(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for (Node* node : all_nodes(graph)) {
    auto found = find(node);
    if (!found) continue;
    const torch::jit::WithInsertPoint guard(node);
    std::vector<Value*> inputs = {found->x};
    if (std::string(found->op) == "aten::gelu") inputs.push_back(insert_constant(*graph, "none"));
    Value* y = insert_call(*graph, found->op, inputs);
    found->nodes.push_back(node);
    inherit(y->node(), found->nodes);
    // `node` stays until the end: it may be a part of a later match, which then fails.
    node->output()->replaceAllUsesWith(y);
    changed = true;
  }
  if (changed) remove_dead(graph);
  return changed;
}

}  // namespace ipex_quant::passes
