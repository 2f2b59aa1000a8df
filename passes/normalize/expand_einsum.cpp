/// \file
/// Implements expand_einsum.
#include "passes/normalize/expand_einsum.h"

#include <algorithm>
#include <cctype>

#include "passes/ir.h"

namespace ipex_quant::passes {

namespace {

/// An equation "a,b->out", without its spaces.
struct Equation {
  std::string a, b, out;
};

std::optional<Equation> parse(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  const std::size_t comma = text.find(',');
  const std::size_t arrow = text.find("->");
  if (comma == std::string::npos || arrow == std::string::npos || comma > arrow)
    return std::nullopt;
  Equation found{text.substr(0, comma), text.substr(comma + 1, arrow - comma - 1),
                 text.substr(arrow + 2)};
  for (const std::string& letters : {found.a, found.b, found.out}) {
    for (const char letter : letters) {
      const bool once = std::count(letters.begin(), letters.end(), letter) == 1;
      if (!std::isalpha(static_cast<unsigned char>(letter)) || !once) return std::nullopt;
    }
  }
  return found;
}

bool has(const std::string& letters, char letter) {
  return letters.find(letter) != std::string::npos;
}

/// The letters by what they are to the product.
struct Roles {
  std::string batch, row, column, summed;
};

std::optional<Roles> roles_of(const Equation& e) {
  Roles roles;
  for (const char letter : e.a) {
    const bool in_b = has(e.b, letter);
    const bool in_out = has(e.out, letter);
    if (!in_b && !in_out) return std::nullopt;
    (in_b && in_out ? roles.batch : in_b ? roles.summed : roles.row) += letter;
  }
  for (const char letter : e.b) {
    if (has(e.a, letter)) continue;
    if (!has(e.out, letter)) return std::nullopt;
    roles.column += letter;
  }
  const bool all = e.out.size() == roles.batch.size() + roles.row.size() + roles.column.size();
  const bool product =
      roles.row.size() == 1 && roles.column.size() == 1 && roles.summed.size() == 1;
  return all && product ? std::optional<Roles>(roles) : std::nullopt;
}

/// Builds the product in front of one einsum.
class Product {
 public:
  Product(Graph& graph, Node* einsum) : graph_(graph), einsum_(einsum) {}

  Value* build(const Equation& e, const Roles& roles) {
    const auto operands = einsum_->input(1)->node()->inputs();
    Value* a = arrange(operands[0], e.a, roles.batch + roles.row + roles.summed);
    Value* b = arrange(operands[1], e.b, roles.batch + roles.summed + roles.column);
    Value* product = call("aten::matmul", {a, b});
    product->node()->s_(role_attr(), "einsum");
    inherit(product->node(), {einsum_});
    return arrange(product, roles.batch + roles.row + roles.column, e.out);
  }

 private:
  /// The value with its dimensions, named by `from`, in the order of `to`.
  Value* arrange(Value* value, const std::string& from, const std::string& to) {
    if (from == to) return value;
    if (const auto swap = one_swap(from, to)) return transpose(value, swap->first, swap->second);
    // A key is transposed to heads first, and then on: as the two steps that attention has.
    std::string heads = to;
    std::swap(heads[heads.size() - 2], heads[heads.size() - 1]);
    if (from == heads || one_swap(from, heads))
      return transpose(arrange(value, from, heads), -2, -1);
    std::vector<std::int64_t> order;
    for (const char letter : to) order.push_back(static_cast<std::int64_t>(from.find(letter)));
    return call("aten::permute", {value, insert_constant(graph_, order)});
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
    return call("aten::transpose",
                {value, insert_constant(graph_, first), insert_constant(graph_, second)});
  }

  Value* call(const char* kind, const std::vector<Value*>& inputs) {
    Value* output = insert_call(graph_, kind, inputs);
    output->node()->setSourceRange(einsum_->sourceRange());
    return output;
  }

  Graph& graph_;
  Node* einsum_;
};

/// Why the einsum stays; "" when it was expanded.
std::string expand(Graph& graph, Node* einsum) {
  const Value* list = einsum->input(1);
  if (!made_by(list, {"prim::ListConstruct"}) || list->node()->inputs().size() != 2)
    return "an einsum of other than two operands";
  for (const Value* operand : list->node()->inputs()) {
    if (constant_tensor(operand)) return "an einsum with a constant operand";
  }
  const auto text = constant_string(einsum->input(0));
  const auto equation = text ? parse(*text) : std::nullopt;
  const auto roles = equation ? roles_of(*equation) : std::nullopt;
  if (!roles) return "an einsum that is no batched matrix product";
  const torch::jit::WithInsertPoint guard(einsum);
  replace_node(einsum, Product(graph, einsum).build(*equation, *roles));
  return "";
}

}  // namespace

bool expand_einsum(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for (Node* node : all_nodes(graph)) {
    if (!is_op(node, {"aten::einsum"})) continue;
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
