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
    const auto& [batch, rows, columns, summed] = letters;
    Value* a = in_heads(operand(0), e_.operands[0], batch + rows + summed, letters);
    Value* b = in_heads(operand(1), e_.operands[1], batch + summed + columns, letters);
    a = joined(a, summed.size(), 0);
    b = joined(joined(b, columns.size(), 0), summed.size(), 1);
    // One matrix meets any number of rows.
    const bool joins_rows = !batch.empty();
    if (joins_rows) a = joined(a, rows.size(), 1);
    Value* y = site_call("aten::matmul", {a, b}, "einsum");
    y = parted(y, columns, 1, 0);
    if (joins_rows) y = parted(y, rows, 0, columns.size());
    return in_heads(y, batch + rows + columns, e_.out, letters);
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
    input = joined(input, letters.summed.size(), 0);
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

  /// `count` dimensions of the value, with `behind` others behind them, as one.
  Value* joined(Value* value, std::size_t count, std::size_t behind) {
    if (count < 2) return value;
    const auto end = -1 - static_cast<std::int64_t>(behind);
    const auto begin = end + 1 - static_cast<std::int64_t>(count);
    return call("aten::flatten", {value, constant(begin), constant(end)});
  }

  /// The inverse; the sizes are those of the letters in operand `x`.
  Value* parted(Value* value, const std::string& letters, std::size_t x, std::size_t behind) {
    if (letters.size() < 2) return value;
    std::vector<Value*> sizes;
    for (const char letter : letters) {
      const std::int64_t dim = dim_of(e_.operands[x], e_.operands[x].find(letter));
      sizes.push_back(call("aten::size", {operand(x), constant(dim)}));
    }
    Node* list = graph_.insertNode(graph_.createList(c10::IntType::get(), sizes));
    const auto at = -1 - static_cast<std::int64_t>(behind);
    return call("aten::unflatten", {value, constant(at), list->output()});
  }

  /// The dimension of a letter: from the end where an ellipsis stands in front.
  static std::int64_t dim_of(const std::string& letters, std::size_t at) {
    const std::size_t from_end = has_letter(letters, kEllipsis) ? letters.size() : 0;
    return static_cast<std::int64_t>(at) - static_cast<std::int64_t>(from_end);
  }

  /// The value with its dimensions, named by `from`, in the order of `to`.
  Value* arrange(Value* value, std::string from, const std::string& to) {
    if (from == to) return value;
    if (!has_letter(from, kEllipsis) && !one_swap(from, to))
      return call("aten::permute", {value, constant(order_of(from, to))});
    for (std::size_t i = 0; i < from.size(); ++i) {
      if (from[i] == to[i]) continue;
      const std::size_t other = from.find(to[i]);
      value = transpose(value, dim_of(from, i), dim_of(from, other));
      std::swap(from[i], from[other]);
    }
    return value;
  }

  /// The same around a product. A key is transposed to heads first, and then on: as the two steps
  /// that attention has.
  Value* in_heads(Value* value, const std::string& from, const std::string& to,
                  const BatchedProduct& letters) {
    std::string middle = to;
    std::swap(middle[middle.size() - 2], middle[middle.size() - 1]);
    const bool direct = !letters.is_plain() || from == to || one_swap(from, to);
    if (direct || !(from == middle || one_swap(from, middle))) return arrange(value, from, to);
    return transpose(arrange(value, from, middle), -2, -1);
  }

  /// Whether exchanging two dimensions makes `to` of `from`.
  static bool one_swap(const std::string& from, const std::string& to) {
    std::size_t moved = 0;
    for (std::size_t i = 0; i < from.size(); ++i) moved += from[i] != to[i] ? 1 : 0;
    return moved == 2;
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

/// Whether einsum stretches the constant operand `x`: a size of 1 meets any size that is summed.
bool stretches(const EinsumEquation& equation, const Value* operand, std::size_t x) {
  const auto tensor = constant_tensor(operand);
  const std::string& letters = equation.operands[x];
  if (!tensor || tensor->dim() < static_cast<std::int64_t>(letters.size())) return false;
  for (std::size_t i = 0; i < letters.size(); ++i) {
    const auto from_end = static_cast<std::int64_t>(i) - static_cast<std::int64_t>(letters.size());
    if (!has_letter(equation.out, letters[i]) && tensor->size(from_end) == 1) return true;
  }
  return false;
}

Value* build_linear(Builder& builder, const EinsumEquation& equation, Node* einsum) {
  for (const std::size_t x : {0, 1}) {
    const auto operands = einsum->input(1)->node()->inputs();
    const auto weight = constant_tensor(operands[1 - x]);
    if (!weight || constant_tensor(operands[x])) continue;
    const auto letters = linear_product(equation, x);
    if (!letters || weight->scalar_type() != at::kFloat || weight->numel() == 0) return nullptr;
    Node* user = only_user(einsum->output());
    const bool adds = user != nullptr && is_op(user, {"aten::add"});
    return builder.linear(*letters, x, *weight, adds ? user : nullptr);
  }
  return nullptr;
}

Value* build_product(Builder& builder, const EinsumEquation& equation, Node* einsum) {
  const auto operands = einsum->input(1)->node()->inputs();
  if (stretches(equation, operands[0], 0) || stretches(equation, operands[1], 1)) return nullptr;
  if (Value* linear = build_linear(builder, equation, einsum)) return linear;
  const auto letters = batched_product(equation);
  return letters ? builder.product(*letters) : nullptr;
}

/// Writes on a value how many dimensions its letters say that it has.
void note_rank(Value* value, const std::string& letters) {
  const auto type = value->type()->cast<c10::TensorType>();
  if (type && !has_letter(letters, kEllipsis)) value->setType(type->withDim(letters.size()));
}

/// Lets reads of a size that one operand alone has read it of that one: the einsum may then move
/// below them, to what follows it.
void redirect_sizes(Graph& graph, const Node* einsum, const EinsumEquation& equation) {
  const auto uses = einsum->output()->uses();
  for (const torch::jit::Use& use : uses) {
    if (!is_op(use.user, {"aten::size"}) || use.user->inputs().size() != 2) continue;
    const auto dim = constant_int(use.user->input(1));
    const auto count = static_cast<std::int64_t>(equation.out.size());
    if (!dim || has_letter(equation.out, kEllipsis) || *dim < -count || *dim >= count) continue;
    const char letter = equation.out[static_cast<std::size_t>(*dim < 0 ? *dim + count : *dim)];
    const bool in_first = has_letter(equation.operands[0], letter);
    const std::size_t x = in_first ? 0 : 1;
    if (in_first && equation.operands.size() > 1 && has_letter(equation.operands[1], letter))
      continue;
    const torch::jit::WithInsertPoint guard(use.user);
    const auto at = static_cast<std::int64_t>(equation.operands[x].find(letter));
    use.user->replaceInput(1, insert_constant(graph, at));
    use.user->replaceInput(0, einsum->input(1)->node()->input(x));
  }
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
  for (std::size_t i = 0; i < count; ++i) {
    note_rank(list->node()->input(i), equation->operands[i]);
  }
  const torch::jit::WithInsertPoint guard(einsum);
  Builder builder(graph, einsum, *equation);
  Value* result = nullptr;
  if (count == 1) {
    const std::string& letters = equation->operands[0];
    if (letters == equation->out || letters.size() != equation->out.size())
      return "an einsum of one operand that is no permutation";
    result = builder.permuted();
  } else {
    result = build_product(builder, *equation, einsum);
  }
  if (result == nullptr) return neither;
  note_rank(result, equation->out);
  redirect_sizes(graph, einsum, *equation);
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
