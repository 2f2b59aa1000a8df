/// \file
/// Implements expand_einsum.
#include "passes/normalize/expand_einsum.h"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "passes/ir.h"
#include "passes/normalize/einsum_equation.h"

namespace ipex_quant::passes {

namespace {

std::vector<std::int64_t> order_of(const std::string& from, const std::string& to) {
  std::vector<std::int64_t> order;
  for (const char letter : to) order.push_back(static_cast<std::int64_t>(from.find(letter)));
  return order;
}

/// Builds what replaces one einsum in front of it.
class Builder {
 public:
  Builder(Graph& graph, Node* einsum, const EinsumEquation& equation)
      : graph_(graph), einsum_(einsum), e_(equation) {}

  Value* permuted() {
    Value* moved = arrange(operand(0), e_.operands[0], e_.out);
    inherit(moved->node(), {einsum_});
    return moved;
  }

  Value* product(const BatchedProduct& letters) {
    Value* a = heads(operand(0), e_.operands[0], letters.batch + letters.row + letters.summed);
    Value* b = heads(operand(1), e_.operands[1], letters.batch + letters.summed + letters.column);
    Value* product = site_call("aten::matmul", {a, b}, "einsum");
    return heads(product, letters.batch + letters.row + letters.column, e_.out);
  }

  /// Operand `x` and the constant beside it as a linear layer; `add` brings its bias, or is null.
  Value* linear(const LinearProduct& letters, std::size_t x, const at::Tensor& weight, Node* add) {
    const std::string& named = e_.operands[1 - x];
    const at::Tensor ordered = weight.permute(order_of(named, letters.columns + letters.summed));
    const auto columns = static_cast<std::int64_t>(letters.columns.size());
    const std::vector<std::int64_t> sizes = ordered.sizes().slice(0, columns).vec();
    const at::Tensor rows = ordered.flatten(columns).flatten(0, columns - 1).contiguous();
    const auto bias = add == nullptr ? std::nullopt : bias_of(letters, add, sizes);
    Value* input = arrange(operand(x), e_.operands[x], letters.rows + letters.summed);
    const auto summed = static_cast<std::int64_t>(letters.summed.size());
    if (summed > 1) input = call("aten::flatten", {input, constant(-summed), constant(-1)});
    const std::string role = "tensors." + std::to_string(x);
    Value* y = site_call("aten::linear",
                         {input, constant(rows), bias ? constant(*bias) : constant(c10::IValue())},
                         role.c_str());
    if (bias) {
      inherit(y->node(), {add});
      replaced_ = add;
    }
    if (columns > 1) y = call("aten::unflatten", {y, constant(-1), constant(sizes)});
    return arrange(y, letters.rows + letters.columns, e_.out);
  }

  /// The node whose result was built.
  Node* replaced() const { return replaced_ == nullptr ? einsum_ : replaced_; }

 private:
  Value* operand(std::size_t i) { return einsum_->input(1)->node()->input(i); }
  Value* constant(const c10::IValue& value) { return insert_constant(graph_, value); }

  /// What `add` adds to each column, as a vector; nothing when it is no such constant.
  std::optional<at::Tensor> bias_of(const LinearProduct& letters, const Node* add,
                                    const std::vector<std::int64_t>& sizes) const {
    const bool plain = add->inputs().size() == 3 && is_one(add->input(2));
    if (!plain || e_.out != letters.rows + letters.columns) return std::nullopt;
    const auto tensor = constant_tensor(add->input(add->input(0) == einsum_->output() ? 1 : 0));
    if (!tensor || tensor->scalar_type() != at::kFloat || tensor->sizes() != at::IntArrayRef(sizes))
      return std::nullopt;
    return tensor->flatten().contiguous();
  }

  static bool is_one(const Value* value) {
    return constant_number(value) == std::optional<double>(1.0);
  }

  /// The value with its dimensions, named by `from`, in the order of `to`.
  Value* arrange(Value* value, const std::string& from, const std::string& to) {
    if (from == to) return value;
    if (const auto swap = one_swap(from, to)) return transpose(value, swap->first, swap->second);
    return call("aten::permute", {value, constant(order_of(from, to))});
  }

  /// The same for an operand of a product. A key is transposed to heads first, and then on: as the
  /// two steps that attention has.
  Value* heads(Value* value, const std::string& from, const std::string& to) {
    std::string middle = to;
    std::swap(middle[middle.size() - 2], middle[middle.size() - 1]);
    const bool direct = from == to || one_swap(from, to);
    if (direct || !(from == middle || one_swap(from, middle))) return arrange(value, from, to);
    return transpose(arrange(value, from, middle), -2, -1);
  }

  /// The two dimensions whose exchange makes `to` of `from`.
  static std::optional<std::pair<std::int64_t, std::int64_t>> one_swap(const std::string& from,
                                                                       const std::string& to) {
    std::vector<std::int64_t> moved;
    for (std::size_t i = 0; i < from.size(); ++i) {
      if (from[i] != to[i]) moved.push_back(static_cast<std::int64_t>(i));
    }
    return moved.size() == 2 ? std::optional(std::pair(moved[0], moved[1])) : std::nullopt;
  }

  Value* transpose(Value* value, std::int64_t first, std::int64_t second) {
    return call("aten::transpose", {value, constant(first), constant(second)});
  }

  Value* call(const char* kind, const std::vector<Value*>& inputs) {
    Value* output = insert_call(graph_, kind, inputs);
    output->node()->setSourceRange(einsum_->sourceRange());
    return output;
  }

  Value* site_call(const char* kind, const std::vector<Value*>& inputs, const char* role) {
    Value* output = call(kind, inputs);
    output->node()->s_(role_attr(), role);
    inherit(output->node(), {einsum_});
    return output;
  }

  Graph& graph_;
  Node* einsum_;
  const EinsumEquation& e_;
  Node* replaced_ = nullptr;
};

/// A float32 constant with a dimension for each letter, none of which einsum would stretch.
bool is_weight(const at::Tensor& tensor, const std::string& letters, const std::string& summed) {
  if (tensor.scalar_type() != at::kFloat ||
      tensor.dim() != static_cast<std::int64_t>(letters.size()) || tensor.numel() == 0)
    return false;
  const auto is_long = [&](char letter) {
    return tensor.size(static_cast<std::int64_t>(letters.find(letter))) > 1;
  };
  return std::all_of(summed.begin(), summed.end(), is_long);
}

Value* build_linear(Builder& builder, const EinsumEquation& equation, Node* einsum) {
  for (const std::size_t x : {0, 1}) {
    const auto operands = einsum->input(1)->node()->inputs();
    const auto weight = constant_tensor(operands[1 - x]);
    if (!weight || constant_tensor(operands[x])) continue;
    const auto letters = linear_product(equation, x);
    if (!letters || !is_weight(*weight, equation.operands[1 - x], letters->summed)) return nullptr;
    Node* user = only_user(einsum->output());
    const bool adds = user != nullptr && is_op(user, {"aten::add"});
    return builder.linear(*letters, x, *weight, adds ? user : nullptr);
  }
  return nullptr;
}

/// Why the einsum stays; "" when it was expanded.
std::string expand(Graph& graph, Node* einsum) {
  const Value* list = einsum->input(1);
  const std::size_t count =
      made_by(list, {"prim::ListConstruct"}) ? list->node()->inputs().size() : 0;
  if (count != 1 && count != 2) return "an einsum of other than one or two operands";
  const auto text = constant_string(einsum->input(0));
  const auto equation = text ? parse_einsum(*text) : std::nullopt;
  const char* const neither = "an einsum that is no batched matrix product";
  if (!equation || equation->operands.size() != count) return neither;
  const torch::jit::WithInsertPoint guard(einsum);
  Builder builder(graph, einsum, *equation);
  Value* result = nullptr;
  if (count == 1) {
    const std::string& letters = equation->operands[0];
    const bool ellipsis = has_letter(letters, '.');
    if (letters == equation->out || ellipsis || letters.size() != equation->out.size())
      return "an einsum of one operand that is no permutation";
    result = builder.permuted();
  } else {
    result = build_linear(builder, *equation, einsum);
    const auto letters = batched_product(*equation);
    if (result == nullptr && letters) result = builder.product(*letters);
  }
  if (result == nullptr) return neither;
  if (Node* replaced = builder.replaced(); replaced != einsum) {
    replace_value(replaced->output(), result);
    replaced->destroy();
    einsum->destroy();
  } else {
    replace_node(einsum, result);
  }
  return "";
}

}  // namespace

bool expand_einsum(const std::shared_ptr<Graph>& graph) {
  std::vector<Node*> einsums;  // a sum goes with some of them
  for (Node* node : all_nodes(graph)) {
    if (is_op(node, {"aten::einsum"})) einsums.push_back(node);
  }
  bool changed = false;
  for (Node* node : einsums) {
    const std::string reason = expand(*graph, node);
    if (reason.empty()) {
      changed = true;
    } else {
      set_reason(node, reason);
    }
  }
  if (changed) remove_dead(graph);
  return changed;
}

}  // namespace ipex_quant::passes
