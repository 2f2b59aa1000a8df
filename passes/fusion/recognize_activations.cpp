// Implements recognize_activations.
#include "passes/fusion/recognize_activations.h"

#include <ATen/core/Tensor.h>

#include <cmath>

#include "passes/fusion/recognize.h"
#include "passes/ir.h"

namespace ipex_quant::passes {

namespace {

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
std::optional<Recognized> gate(Value* value) {
  Node* node = value->node();
  if (is_op(node, {"aten::sigmoid"})) return Recognized{"aten::silu", node->input(0), {node}};
  if (is_op(node, {"aten::hardsigmoid"}))
    return Recognized{"aten::hardswish", node->input(0), {node}};
  if (is_op(node, {"aten::tanh"}) && made_by(node->input(0), {"aten::softplus"})) {
    Node* softplus = node->input(0)->node();
    const bool plain = near(constant_number(softplus->input(1)), 1);
    if (plain) return Recognized{"aten::mish", softplus->input(0), {softplus, node}};
  }
  if (Value* clamped = times(value, 1.0 / 6)) {
    std::vector<Node*> nodes;
    if (Value* x = clamped_x_plus_3(clamped, nodes)) {
      nodes.push_back(node);
      return Recognized{"aten::hardswish", x, nodes};
    }
  }
  return std::nullopt;
}

/// (x * relu6(x + 3)) / 6
std::optional<Recognized> hardswish_divided_last(Node* node) {
  Value* product = times(node->output(), 1.0 / 6);
  if (product == nullptr || !made_by(product, {"aten::mul"})) return std::nullopt;
  Node* mul = product->node();
  for (const std::size_t i : {0, 1}) {
    std::vector<Node*> nodes;
    if (clamped_x_plus_3(mul->input(i), nodes) == mul->input(1 - i)) {
      nodes.push_back(mul);
      return Recognized{"aten::hardswish", mul->input(1 - i), nodes};
    }
  }
  return std::nullopt;
}

/// The factor of gelu that is not x / 2.
struct GeluGate {
  const char* form;  ///< argument of aten::gelu
  Value* x;
  std::vector<Node*> nodes;
};

/// 1 + erf(x / sqrt 2)
std::optional<GeluGate> one_plus_erf(Value* value) {
  Value* erf = plus(value, 1);
  if (erf == nullptr || !made_by(erf, {"aten::erf"})) return std::nullopt;
  Node* inner = erf->node()->input(0)->node();
  Value* x = times(inner->output(), std::sqrt(0.5));
  if (x == nullptr) return std::nullopt;
  return GeluGate{"none", x, {inner, erf->node(), value->node()}};
}

/// x^3, written as a power or as two products, adds the nodes.
bool is_cube(Value* value, const Value* x, std::vector<Node*>& nodes) {
  Node* node = value->node();
  if (is_op(node, {"aten::pow"}) && node->input(0) == x) {
    nodes.push_back(node);
    return constant_number(node->input(1)) == std::optional<double>(3.0);
  }
  if (!is_op(node, {"aten::mul"})) return false;
  for (const std::size_t i : {0, 1}) {
    Node* square = node->input(i)->node();
    const bool squares =
        (is_op(square, {"aten::mul"}) && square->input(0) == x && square->input(1) == x) ||
        (is_op(square, {"aten::pow"}) && square->input(0) == x &&
         constant_number(square->input(1)) == std::optional<double>(2.0));
    if (node->input(1 - i) == x && squares) {
      nodes.insert(nodes.end(), {square, node});
      return true;
    }
  }
  return false;
}

constexpr double kGeluCubic = 0.044715;

/// x + 0.044715 x^3; the node that reads x itself comes first, for its site knows x.
Value* plus_cubic(Value* value, std::vector<Node*>& nodes) {
  Node* sum = value->node();
  if (!is_op(sum, {"aten::add"}) || !has_alpha_one(sum)) return nullptr;
  for (const std::size_t i : {0, 1}) {
    Value* cube = times(sum->input(1 - i), kGeluCubic);
    std::vector<Node*> inner = {sum};
    if (cube == nullptr || !is_cube(cube, sum->input(i), inner)) continue;
    inner.push_back(sum->input(1 - i)->node());
    nodes = inner;
    return sum->input(i);
  }
  return nullptr;
}

/// (c x) (1 + 0.044715 x x), with the small factor at the first x or at their product.
Value* times_one_plus_square(Value* value, double factor, std::vector<Node*>& nodes) {
  Node* product = value->node();
  if (!is_op(product, {"aten::mul"})) return nullptr;
  for (const std::size_t i : {0, 1}) {
    Value* x = times(product->input(i), factor);
    Value* square = plus(product->input(1 - i), 1);
    if (x == nullptr || square == nullptr || !made_by(square, {"aten::mul"})) continue;
    Node* last = square->node();
    Value* plain = times(square, kGeluCubic);
    const bool at_product = plain != nullptr && made_by(plain, {"aten::mul"}) &&
                            plain->node()->input(0) == x && plain->node()->input(1) == x;
    const bool at_first = (times(last->input(0), kGeluCubic) == x && last->input(1) == x) ||
                          (times(last->input(1), kGeluCubic) == x && last->input(0) == x);
    if (!at_product && !at_first) continue;
    Node* first = at_product ? plain->node() : last->input(last->input(0) == x ? 1 : 0)->node();
    nodes = {product->input(i)->node(), first, last, product->input(1 - i)->node(), product};
    return x;
  }
  return nullptr;
}

/// 1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))
std::optional<GeluGate> one_plus_tanh(Value* value) {
  static const double kFactor = std::sqrt(2 / 3.14159265358979323846);
  Value* tanh = plus(value, 1);
  if (tanh == nullptr || !made_by(tanh, {"aten::tanh"})) return std::nullopt;
  Value* inner = tanh->node()->input(0);
  GeluGate gate{"tanh", nullptr, {}};
  if (Value* sum = times(inner, kFactor)) {
    gate.x = plus_cubic(sum, gate.nodes);
    gate.nodes.push_back(inner->node());
  }
  if (gate.x == nullptr) gate.x = times_one_plus_square(inner, kFactor, gate.nodes);
  if (gate.x == nullptr) return std::nullopt;
  gate.nodes.insert(gate.nodes.end(), {tanh->node(), value->node()});
  return gate;
}

std::optional<GeluGate> gelu_gate(Value* value) {
  auto gate = one_plus_erf(value);
  return gate ? gate : one_plus_tanh(value);
}

/// (x / 2) * gate, x * (gate / 2) or (x * gate) / 2
std::optional<Recognized> gelu(Node* node) {
  const auto found = [](GeluGate& gate, Node* last) {
    gate.nodes.push_back(last);
    return Recognized{"aten::gelu", gate.x, gate.nodes, {gate.form}};
  };
  if (Value* product = times(node->output(), 0.5); product && made_by(product, {"aten::mul"})) {
    for (const std::size_t i : {0, 1}) {
      Node* mul = product->node();
      auto gate = gelu_gate(mul->input(i));
      if (gate && gate->x == mul->input(1 - i)) return found(*gate, mul);
    }
  }
  if (!is_op(node, {"aten::mul"})) return std::nullopt;
  for (const std::size_t i : {0, 1}) {
    Value* factor = node->input(i);
    Value* other = node->input(1 - i);
    auto gate = gelu_gate(factor);
    if (gate && times(other, 0.5) == gate->x) return found(*gate, other->node());
    Value* doubled = times(factor, 0.5);
    gate = doubled == nullptr ? std::nullopt : gelu_gate(doubled);
    if (gate && gate->x == other) return found(*gate, factor->node());
  }
  return std::nullopt;
}

/// prelu with one slope for all channels
std::optional<Recognized> leaky_relu(Node* node) {
  const auto slope = constant_tensor(node->input(1));
  if (!slope || slope->numel() != 1) return std::nullopt;
  return Recognized{"aten::leaky_relu", node->input(0), {}, {slope->item<double>()}};
}

std::optional<Recognized> find(Node* node) {
  if (is_op(node, {"aten::prelu"})) return leaky_relu(node);
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

bool recognize_activations(const std::shared_ptr<Graph>& graph) { return recognize(graph, find); }

}  // namespace ipex_quant::passes
