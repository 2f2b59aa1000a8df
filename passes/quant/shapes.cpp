// Implements Shapes: the walk over a graph and the comparison of two shapes.
#include "passes/quant/shapes.h"

#include <algorithm>
#include <optional>

#include "passes/ir.h"
#include "passes/quant/shape_rules.h"
#include "passes/quant/sizes.h"

namespace ipex_quant::passes {

std::string Shape::dim(std::int64_t index) const {
  const auto count = static_cast<std::int64_t>(dims.size());
  if (index < 0 && -index <= count) return dims[static_cast<std::size_t>(count + index)];
  if (ranked) return index < count && index >= 0 ? dims[static_cast<std::size_t>(index)] : "?";
  return base + "." + std::to_string(index);
}

Shape Shape::with_rank(std::size_t rank) const {
  if (ranked || rank < dims.size()) return *this;
  std::vector<std::string> all;
  for (std::size_t i = 0; i + dims.size() < rank; ++i) {
    all.push_back(base + "." + std::to_string(i));
  }
  all.insert(all.end(), dims.begin(), dims.end());
  return {true, "", all};
}

bool Shape::operator==(const Shape& other) const {
  return ranked == other.ranked && base == other.base && dims == other.dims;
}

const Shape& Shapes::of(const Value* value) {
  const auto found = known_.find(value);
  if (found != known_.end()) return found->second;
  // Values are inferred upwards from here; a chain of thousands of ops must not use the call stack.
  std::vector<const Value*> todo = {value};
  while (!todo.empty()) {
    const Value* next = todo.back();
    const std::size_t before = todo.size();
    for (const Value* input : next->node()->inputs()) {
      const bool list = input->type()->cast<c10::ListType>() != nullptr;
      if (list && known_.count(input) == 0) todo.push_back(input);
      if (input->type()->cast<c10::TensorType>() && known_.count(input) == 0) todo.push_back(input);
    }
    if (todo.size() != before) continue;
    todo.pop_back();
    if (known_.count(next) == 0) known_.emplace(next, infer(next));
  }
  return known_.at(value);
}

Shape Shapes::unknown(const Value* value) {
  return {false, "%" + std::to_string(value->unique()), {}};
}

Shape Shapes::infer(const Value* value) {
  if (const auto tensor = constant_tensor(value)) {
    std::vector<std::string> dims;
    for (const std::int64_t size : tensor->sizes()) dims.push_back(std::to_string(size));
    return {true, "", dims};
  }
  const Node* node = value->node();
  if (node->kind() == c10::prim::Param || node->inputs().empty()) return unknown(value);
  return apply_shape_rule(*this, value).value_or(unknown(value));
}

std::string Shapes::int_text(const Value* value) {
  if (const auto constant = constant_number(value)) {
    return std::to_string(static_cast<std::int64_t>(*constant));
  }
  const Node* node = value->node();
  if (is_op(node, {"aten::size"}) && node->inputs().size() == 2) {
    const auto index = constant_int(node->input(1));
    if (index) return of(node->input(0)).dim(*index);
  }
  if (is_op(node, {"prim::NumToTensor", "aten::Int", "aten::ScalarImplicit"})) {
    return int_text(node->input(0));
  }
  if (is_op(node,
            {"aten::mul", "aten::floor_divide", "aten::add", "aten::sub", "aten::floordiv"})) {
    const std::string a = int_text(node->input(0));
    const std::string b = int_text(node->input(1));
    if (a == "1" && is_op(node, {"aten::mul"})) return b;
    if (b == "1" && !is_op(node, {"aten::add", "aten::sub"})) return a;
    return std::string(node->kind().toUnqualString()) + "(" + a + "," + b + ")";
  }
  return "%" + std::to_string(value->unique());
}

bool Shapes::list_text(const Value* list, std::vector<std::string>& dims) {
  if (const auto constant = constant_ints(list)) {
    for (const std::int64_t size : *constant) dims.push_back(std::to_string(size));
    return true;
  }
  if (made_by(list, {"aten::size"}) && list->node()->inputs().size() == 1) {
    const Shape& shape = of(list->node()->input(0));
    dims = shape.dims;
    return shape.ranked;
  }
  if (!made_by(list, {"prim::ListConstruct"})) return false;
  for (const Value* element : list->node()->inputs()) dims.push_back(int_text(element));
  return true;
}

bool Shapes::fits(const Value* other, const Value* result) {
  Shape a = of(other);
  Shape b = of(result);
  if (a == b) return true;
  if (a.ranked && a.dims.empty()) return true;
  // The rank of one is taken from the other: sizes that agree by name leave no other reading.
  if (a.ranked && !b.ranked && a.dims.size() > b.dims.size()) b = b.with_rank(a.dims.size());
  if (!a.ranked && b.ranked) a = a.with_rank(b.dims.size());
  if (!a.ranked && (b.ranked || a.base != b.base)) return false;
  if (a.ranked && a.dims.size() > b.dims.size()) return false;
  const auto count =
      static_cast<std::int64_t>(std::max(a.dims.size(), a.ranked ? 0 : b.dims.size()));
  for (std::int64_t i = 1; i <= count; ++i) {
    const std::string small = a.dim(-i);
    const std::string large = b.dim(-i);
    // A known size above 1 settles it: the other is 1 or the same, else the float op would fail.
    const auto size = number_of(large);
    if (small != large && small != "1" && !(size && *size > 1)) return false;
  }
  return true;
}

}  // namespace ipex_quant::passes
