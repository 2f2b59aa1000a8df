// Implements fuse_cells.
#include "passes/fusion/fuse_cells.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "passes/ir.h"
#include "passes/quant/data_movement.h"
#include "passes/quant/site_params.h"

namespace ipex_quant::passes {

namespace {

/// A cell that was found.
struct Cell {
  bool is_lstm = false;
  Node* x_linear = nullptr;
  Node* h_linear = nullptr;
  Value* c = nullptr;      ///< state of an lstm
  Value* new_c = nullptr;  ///< its next state
  Value* new_h = nullptr;
  std::vector<Node*> nodes;  ///< all of it, the last first
};

/// Walks from the result of a cell to its inputs, and notes the nodes on the way.
class Matcher {
 public:
  explicit Matcher(Node* last) : last_(last) {}

  std::optional<Cell> match() {
    cell_.new_h = last_->output();
    const bool found = is_op(last_, {"aten::mul"}) ? lstm() : gru();
    return found && is_closed() ? std::optional(cell_) : std::nullopt;
  }

 private:
  Node* take(Value* value, const char* op) {
    Node* node = value->node();
    if (!is_op(node, {op}) || node->owningBlock() != last_->owningBlock()) return nullptr;
    if (std::find(cell_.nodes.begin(), cell_.nodes.end(), node) == cell_.nodes.end()) {
      cell_.nodes.push_back(node);
    }
    return node;
  }

  /// a + b or a - b with alpha 1.
  Node* take_sum(Value* value, const char* op = "aten::add") {
    Node* node = take(value, op);
    const bool plain = node != nullptr && node->inputs().size() == 3 &&
                       constant_number(node->input(2)) == std::optional<double>(1.0);
    return plain ? node : nullptr;
  }

  /// The gate `number` of `count`, behind its activation: what is cut into gates, else nullptr.
  Value* gate(Value* value, const char* activation, std::size_t number, std::size_t count) {
    Node* node = take(value, activation);
    return node == nullptr ? nullptr : part(node->input(0), number, count);
  }

  Value* part(Value* value, std::size_t number, std::size_t count) {
    Node* unpack = take(value, "prim::ListUnpack");
    if (unpack == nullptr || unpack->outputs().size() != count || value->offset() != number) {
      return nullptr;
    }
    Node* chunk = take(unpack->input(), "aten::unsafe_chunk");
    const bool by_gate = chunk != nullptr &&
                         constant_int(chunk->input(1)) == static_cast<std::int64_t>(count) &&
                         constant_int(chunk->input(2)) == std::int64_t{1};
    return by_gate ? chunk->input(0) : nullptr;
  }

  /// h = sigmoid(o) tanh(c'), c' = sigmoid(f) c + sigmoid(i) tanh(g)
  bool lstm() {
    Node* product = take(last_->output(), "aten::mul");
    Value* gates = gate(product->input(0), "aten::sigmoid", 3, 4);
    Node* tanh = take(product->input(1), "aten::tanh");
    if (gates == nullptr || tanh == nullptr) return false;
    cell_.new_c = tanh->input(0);
    Node* sum = take_sum(cell_.new_c);
    if (sum == nullptr) return false;
    Node* kept = take(sum->input(0), "aten::mul");
    Node* added = take(sum->input(1), "aten::mul");
    if (kept == nullptr || added == nullptr) return false;
    const bool alike = gate(kept->input(0), "aten::sigmoid", 1, 4) == gates &&
                       gate(added->input(0), "aten::sigmoid", 0, 4) == gates &&
                       gate(added->input(1), "aten::tanh", 2, 4) == gates;
    Node* both = take_sum(gates);
    if (!alike || both == nullptr) return false;
    cell_.is_lstm = true;
    cell_.c = kept->input(1);
    cell_.h_linear = take(both->input(0), "aten::linear");
    cell_.x_linear = take(both->input(1), "aten::linear");
    return has_weights(4);
  }

  /// h' = (h - n) sigmoid(z) + n, n = tanh(xn + hn sigmoid(r))
  bool gru() {
    Node* sum = take_sum(last_->output());
    Node* product = sum == nullptr ? nullptr : take(sum->input(0), "aten::mul");
    Node* tanh = product == nullptr ? nullptr : take(sum->input(1), "aten::tanh");
    Node* change = tanh == nullptr ? nullptr : take_sum(product->input(0), "aten::sub");
    if (change == nullptr || change->input(1) != tanh->output()) return false;
    Node* inner = take_sum(tanh->input(0));
    Node* reset = inner == nullptr ? nullptr : take(inner->input(1), "aten::mul");
    if (reset == nullptr) return false;
    Value* from_x = part(inner->input(0), 2, 3);
    Value* from_h = part(reset->input(0), 2, 3);
    const bool alike = from_x != nullptr && from_h != nullptr &&
                       joins(reset->input(1), 0, from_h, from_x) &&
                       joins(product->input(1), 1, from_h, from_x);
    if (!alike) return false;
    cell_.x_linear = take(from_x, "aten::linear");
    cell_.h_linear = take(from_h, "aten::linear");
    return has_weights(3) && cell_.h_linear->input(0) == change->input(0);
  }

  /// sigmoid(h gate + x gate)
  bool joins(Value* value, std::size_t number, const Value* from_h, const Value* from_x) {
    Node* sigmoid = take(value, "aten::sigmoid");
    Node* sum = sigmoid == nullptr ? nullptr : take_sum(sigmoid->input(0));
    return sum != nullptr && part(sum->input(0), number, 3) == from_h &&
           part(sum->input(1), number, 3) == from_x;
  }

  /// Weights [gates * H, in] and [gates * H, H], both with a bias or none.
  bool has_weights(std::int64_t gates) const {
    if (cell_.x_linear == nullptr || cell_.h_linear == nullptr) return false;
    const auto x = constant_tensor(cell_.x_linear->input(1));
    const auto h = constant_tensor(cell_.h_linear->input(1));
    const bool square = x && h && h->dim() == 2 && x->dim() == 2 &&
                        h->size(0) == gates * h->size(1) && x->size(0) == h->size(0);
    const bool x_bias = constant_tensor(cell_.x_linear->input(2)).has_value();
    const bool h_bias = constant_tensor(cell_.h_linear->input(2)).has_value();
    return square && x_bias == h_bias &&
           (x_bias || (is_none(cell_.x_linear->input(2)) && is_none(cell_.h_linear->input(2))));
  }

  /// Nothing else reads what is inside, nor the new states above the place of the new op.
  bool is_closed() const {
    const auto& nodes = cell_.nodes;
    for (const Node* node : nodes) {
      for (const Value* output : node->outputs()) {
        const bool result = output == cell_.new_h || output == cell_.new_c;
        for (const torch::jit::Use& use : output->uses()) {
          const bool inner = std::find(nodes.begin(), nodes.end(), use.user) != nodes.end();
          if (!inner && !(result && use.user->isAfter(last_))) return false;
        }
      }
    }
    return true;
  }

  Node* last_;
  Cell cell_;
};

/// A linear that calibration made int8 with one scale and no factors.
bool is_plain_int8(const SiteParams* site) {
  const OperandParams* input = site == nullptr ? nullptr : site->operand("input");
  return input != nullptr && site->int8 && !input->channel_factor.defined();
}

class Rewriter {
 public:
  explicit Rewriter(Graph& graph) : graph_(graph) {}

  void rewrite(const Cell& cell) {
    const torch::jit::WithInsertPoint guard(cell.new_h->node()->next());
    Node* x = cell.x_linear;
    Node* h = cell.h_linear;
    std::vector<Value*> params = {x->input(1), h->input(1)};
    const bool biases = !is_none(x->input(2));
    if (biases) params.insert(params.end(), {x->input(2), h->input(2)});
    Value* state = with_step(h->input(0), 1);
    if (cell.is_lstm) state = tensors({state, with_step(cell.c, 2)});
    Value* no = insert_constant(graph_, false);
    Value* y = insert_call(
        graph_, cell.is_lstm ? "aten::lstm" : "aten::gru",
        {with_step(x->input(0), 0), state, tensors(params), insert_constant(graph_, biases),
         insert_constant(graph_, std::int64_t{1}), insert_constant(graph_, 0.0), no, no, no});
    Node* node = y->node();
    made_.insert(node);
    std::vector<Node*> order = {x};  // its site comes first
    order.insert(order.end(), cell.nodes.begin(), cell.nodes.end());
    inherit(node, order);
    finish(node->output(0), cell.new_h);
    if (cell.is_lstm) finish(node->output(2), cell.new_c);
  }

 private:
  Value* tensors(const std::vector<Value*>& values) {
    return graph_.insertNode(graph_.createList(c10::TensorType::get(), values))->output();
  }

  Value* zero() { return insert_constant(graph_, std::int64_t{0}); }

  /// [B, H] -> [1, B, H]; output `number` of the op of another step where that made it.
  Value* with_step(Value* value, std::size_t number) {
    if (made_by(value, {"aten::squeeze"})) {
      const Value* whole = value->node()->input(0);
      Node* maker = const_cast<Node*>(whole->node());
      const std::size_t wanted = number == 2 ? 2 : 0;
      if (made_.count(maker) != 0 && whole->offset() == wanted) return maker->output(number);
    }
    return insert_call(graph_, "aten::unsqueeze", {value, zero()});
  }

  void finish(Value* whole, Value* old) {
    old->replaceAllUsesWith(insert_call(graph_, "aten::squeeze", {whole, zero()}));
  }

  Graph& graph_;
  std::unordered_set<const Node*> made_;  ///< ops of one step
};

}  // namespace

bool fuse_cells(const std::shared_ptr<Graph>& graph, PassContext& context) {
  TORCH_CHECK(context.sites != nullptr, "fuse-cells needs the sites of the model");
  std::unordered_map<std::string, const SiteParams*> sites;
  for (const SiteParams& site : *context.sites) sites[site.site] = &site;
  const auto params = [&sites](const Node* node) {
    const auto found = sites.find(site_of(node).value_or(""));
    return found == sites.end() ? nullptr : found->second;
  };
  const auto written = written_values(graph);
  Rewriter rewriter(*graph);
  bool changed = false;
  for (Node* node : all_nodes(graph)) {
    if (!is_op(node, {"aten::mul", "aten::add"})) continue;
    const auto cell = Matcher(node).match();
    if (!cell || !is_plain_int8(params(cell->x_linear)) || !is_plain_int8(params(cell->h_linear))) {
      continue;
    }
    const bool in_place =
        std::any_of(cell->nodes.begin(), cell->nodes.end(), [&written](const Node* inner) {
          return !inner->outputs().empty() && written.count(inner->output(0)) != 0;
        });
    if (in_place) continue;
    rewriter.rewrite(*cell);
    changed = true;
  }
  if (changed) remove_dead(graph);
  return changed;
}

}  // namespace ipex_quant::passes
