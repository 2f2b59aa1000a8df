// Implements fuse_attention.
#include "passes/fusion/fuse_attention.h"

#include <algorithm>

#include "passes/dump.h"
#include "passes/ir.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

using torch::jit::WithInsertPoint;

/// The int8 product that makes the value, with constant arguments, or nullptr.
Node* product_of(Value* value) {
  if (!made_by(value, {"ipex_quant::matmul"})) return nullptr;
  const Value* packed = value->node()->input(2);
  if (!made_by(packed, {"ipex_quant::matmul_prepack"})) return nullptr;
  const auto inputs = packed->node()->inputs();
  const bool constant = std::all_of(inputs.begin(), inputs.end(), [](const Value* input) {
    return constant_of(input).has_value();
  });
  return constant ? value->node() : nullptr;
}

/// Scale and zero point of the left operand, its epilogue: arguments of a product's prepack.
Value* prepacked(const Node* product, std::size_t index) {
  return product->input(2)->node()->input(index);
}

bool equal_numbers(const Value* a, const Value* b) {
  return constant_number(a) == constant_number(b);
}

/// The three nodes of an attention.
struct Attention {
  Node* scores;
  Node* softmax;
  Node* result;
};

std::optional<Attention> attention_of(Node* result, std::string& refusal) {
  if (product_of(result->output()) == nullptr) return std::nullopt;
  Value* weights = result->input(0);
  if (!made_by(weights, {"ipex_quant::softmax"})) return std::nullopt;
  Node* softmax = weights->node();
  Node* scores = product_of(softmax->input(0));
  if (scores == nullptr) {
    refusal = "its scores are not an int8 product";
  } else if (weights->uses().size() != 1 || scores->output()->uses().size() != 1) {
    refusal = "its scores or probabilities are read elsewhere";
  } else if (softmax->owningBlock() != result->owningBlock() ||
             scores->owningBlock() != result->owningBlock()) {
    refusal = "its scores are made in another block";
  } else if (!equal_numbers(softmax->input(1), prepacked(result, 0)) ||
             !equal_numbers(softmax->input(2), prepacked(result, 1))) {
    refusal = "its probabilities are read with other qparams";
  } else if (constant_string(prepacked(scores, 4))->find("quantize(") != std::string::npos) {
    refusal = "its scores are quantized";
  }
  if (!refusal.empty()) return std::nullopt;
  return Attention{scores, softmax, result};
}

/// The first product moves down to the second: what it reads must be the same there.
bool is_movable(const Attention& a, const std::unordered_set<const Value*>& written) {
  const auto is_written = [&](const Value* value) { return written.count(value) != 0; };
  const auto others = a.scores->input(3)->node()->inputs();
  return !is_written(a.scores->input(0)) && !is_written(a.scores->input(1)) &&
         std::none_of(others.begin(), others.end(), is_written);
}

std::vector<std::int64_t> anchors_of(const Node* node) {
  return node->hasAttribute(anchor_attr()) ? node->is(anchor_attr()) : std::vector<std::int64_t>();
}

void emit(Graph& graph, const Attention& a) {
  const WithInsertPoint guard(a.result);
  Value* packed =
      insert_call(graph, "ipex_quant::attention_prepack",
                  {prepacked(a.scores, 0), prepacked(a.scores, 1), prepacked(a.scores, 2),
                   prepacked(a.scores, 3), prepacked(a.result, 0), prepacked(a.result, 1),
                   prepacked(a.result, 2), prepacked(a.result, 3), prepacked(a.scores, 4),
                   prepacked(a.result, 4)});
  Value* y = insert_call(graph, "ipex_quant::attention",
                         {a.scores->input(0), a.scores->input(1), a.result->input(1), packed,
                          a.scores->input(3), a.result->input(3)});
  Node* node = y->node();
  inherit(node, {a.result, a.scores, a.softmax});
  std::vector<std::int64_t> anchors = anchors_of(a.result);
  for (const std::int64_t id : anchors_of(a.scores)) {
    if (std::find(anchors.begin(), anchors.end(), id) == anchors.end()) anchors.push_back(id);
  }
  node->is_(anchor_attr(), anchors);
  node->s_(c10::Symbol::attr("iq_epilogue"), *constant_string(prepacked(a.result, 4)));
  node->s_(scores_attr(), *constant_string(prepacked(a.scores, 4)));
  node->is_(score_ids_attr(), ids_of(a.scores));
  node->is_(softmax_ids_attr(), ids_of(a.softmax));
  node->is_(result_ids_attr(), ids_of(a.result));
  replace_node(a.result, y);
  a.softmax->destroy();
  a.scores->destroy();
}

}  // namespace

c10::Symbol scores_attr() { return c10::Symbol::attr("iq_scores"); }
c10::Symbol score_ids_attr() { return c10::Symbol::attr("iq_score_ids"); }
c10::Symbol softmax_ids_attr() { return c10::Symbol::attr("iq_softmax_ids"); }
c10::Symbol result_ids_attr() { return c10::Symbol::attr("iq_result_ids"); }

bool fuse_attention(const std::shared_ptr<Graph>& graph) {
  const auto written = written_values(graph);
  std::vector<Attention> found;
  for (Node* node : all_nodes(graph)) {
    if (!is_op(node, {"ipex_quant::matmul"})) continue;
    std::string refusal;
    const auto attention = attention_of(node, refusal);
    if (attention && is_movable(*attention, written)) {
      found.push_back(*attention);
    } else if (attention || !refusal.empty()) {
      log("fusion", "refused",
          "attention: " + (attention ? "an input is changed in place" : refusal));
    }
  }
  for (const Attention& attention : found) emit(*graph, attention);
  if (!found.empty()) remove_dead(graph);
  return !found.empty();
}

}  // namespace ipex_quant::passes
