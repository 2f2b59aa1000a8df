// Implements find_matches by depth-first search from the outputs of the pattern.
#include "passes/fusion/match.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "passes/ir.h"

namespace ipex_quant::passes {

namespace {

bool is_constant(const Node* node) { return node->kind() == c10::prim::Constant; }

bool equal_tensors(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && at::equal(a, b);
}

bool equal_numbers(double a, double b) {
  return a == b || static_cast<float>(a) == static_cast<float>(b) || (a != a && b != b);
}

bool equal_constants(const Value* a, const Value* b) {
  if (is_none(a) || is_none(b)) return is_none(a) && is_none(b);
  const auto a_number = constant_number(a);
  const auto b_number = constant_number(b);
  if (a_number || b_number) return a_number && b_number && equal_numbers(*a_number, *b_number);
  const auto a_ints = constant_ints(a);
  if (a_ints) return a_ints == constant_ints(b);
  const auto x = constant_of(a);
  const auto y = constant_of(b);
  if (!x || !y || x->tagKind() != y->tagKind()) return false;
  return x->isTensor() ? equal_tensors(x->toTensor(), y->toTensor()) : *x == *y;
}

/// Swapping the first two inputs changes nothing.
bool commutes(const Node* node) {
  if (is_op(node, {"aten::mul"})) return true;
  return is_op(node, {"aten::add"}) && node->inputs().size() == 3 &&
         constant_number(node->input(2)) == std::optional<double>(1.0);
}

/// The bindings of a search; copied where it branches.
class Search {
 public:
  explicit Search(const std::shared_ptr<Graph>& pattern) { match_.pattern = pattern; }

  const PatternMatch& match() const { return match_; }
  bool has(const Value* pattern) const { return match_.values.count(pattern) != 0; }

  bool bind(const Value* pattern, Value* value) {
    const auto [place, is_new] = match_.values.emplace(pattern, value);
    if (!is_new) return place->second == value || equal_if_constants(pattern, place->second, value);
    const Node* node = pattern->node();
    if (node->kind() == c10::prim::Param) return true;
    if (is_constant(node) || constant_ints(pattern)) return equal_constants(pattern, value);
    return pattern->offset() == value->offset() && bind_node(node, value->node());
  }

 private:
  static bool equal_if_constants(const Value* pattern, const Value* a, const Value* b) {
    // Two nodes may hold one constant.
    if (pattern->node()->kind() == c10::prim::Param && !constant_of(a)) return false;
    return constant_of(a) && constant_of(b) && equal_constants(a, b);
  }

  bool bind_node(const Node* pattern, Node* node) {
    const auto [place, is_new] = match_.by_pattern.emplace(pattern, node);
    if (!is_new) return place->second == node;
    if (pattern->kind() != node->kind() || pattern->outputs().size() != node->outputs().size() ||
        pattern->inputs().size() != node->inputs().size()) {
      return false;
    }
    const std::size_t first = commutes(pattern) && commutes(node) ? 2 : 0;
    if (first == 0) return bind_inputs(pattern, node, 0);
    const Search before = *this;
    for (const std::size_t swap : {0, 1}) {
      if (bind(pattern->input(0), node->input(swap)) &&
          bind(pattern->input(1), node->input(1 - swap)) && bind_inputs(pattern, node, first)) {
        return true;
      }
      *this = before;
    }
    return false;
  }

  bool bind_inputs(const Node* pattern, Node* node, std::size_t first) {
    for (std::size_t i = first; i < pattern->inputs().size(); ++i) {
      if (!bind(pattern->input(i), node->input(i))) return false;
    }
    return true;
  }

  PatternMatch match_;
};

/// Outputs that no other output of the pattern depends on are enough to start from; the others are
/// bound on the way. Tries each node of the graph for each of them.
void search_outputs(const std::vector<Node*>& nodes, const std::vector<const Value*>& outputs,
                    std::size_t next, const Search& search, std::vector<Search>& found) {
  while (next < outputs.size() && search.has(outputs[next])) ++next;
  if (next == outputs.size()) return found.push_back(search);
  for (Node* node : nodes) {
    if (node->kind() != outputs[next]->node()->kind()) continue;
    if (node->outputs().size() <= outputs[next]->offset()) continue;
    Search branch = search;
    if (branch.bind(outputs[next], node->output(outputs[next]->offset()))) {
      search_outputs(nodes, outputs, next + 1, branch, found);
    }
  }
}

void finish(PatternMatch& match) {
  for (const auto& [pattern, node] : match.by_pattern) match.nodes.push_back(node);
  std::sort(match.nodes.begin(), match.nodes.end(),
            [](const Node* a, const Node* b) { return a != b && a->isBefore(b); });
}

/// Two nodes of the pattern are two of the graph, all in one block, and no input is made inside.
bool is_sound(const PatternMatch& match) {
  const std::set<const Node*> inside(match.nodes.begin(), match.nodes.end());
  if (inside.size() != match.nodes.size()) return false;
  for (const Node* node : match.nodes) {
    if (node->owningBlock() != match.nodes[0]->owningBlock()) return false;
  }
  const auto inputs = match.pattern->inputs();
  return std::all_of(inputs.begin(), inputs.end(), [&](const Value* input) {
    const auto bound = match.values.find(input);
    return bound != match.values.end() && inside.count(bound->second->node()) == 0;
  });
}

}  // namespace

Value* PatternMatch::value(const std::string& name) const {
  for (const auto& [pattern_value, graph_value] : values) {
    if (pattern_value->hasDebugName() && pattern_value->debugName() == name) return graph_value;
  }
  return nullptr;
}

std::vector<PatternMatch> find_matches(const std::shared_ptr<Graph>& graph,
                                       const std::shared_ptr<Graph>& pattern) {
  const std::vector<Node*> nodes = all_nodes(graph);
  std::vector<const Value*> outputs(pattern->outputs().begin(), pattern->outputs().end());
  // The last made first: the others are mostly found on the way up from it.
  std::stable_sort(outputs.begin(), outputs.end(), [](const Value* a, const Value* b) {
    return a->node() != b->node() && a->node()->isAfter(b->node());
  });
  std::vector<Search> found;
  search_outputs(nodes, outputs, 0, Search(pattern), found);
  std::vector<PatternMatch> matches;
  for (const Search& search : found) {
    PatternMatch match = search.match();
    finish(match);
    if (is_sound(match)) matches.push_back(std::move(match));
  }
  return matches;
}

std::string refuse_replacing(const PatternMatch& match,
                             const std::unordered_set<const Value*>& written) {
  const std::set<const Node*> inside(match.nodes.begin(), match.nodes.end());
  std::set<const Value*> results;
  for (const Value* output : match.pattern->outputs()) results.insert(match.values.at(output));
  const Node* last = match.nodes.back();
  for (const Node* node : match.nodes) {
    for (const Value* value : node->outputs()) {
      if (written.count(value) != 0) return "a value of it is changed in place";
      const bool result = results.count(value) != 0;
      for (const torch::jit::Use& use : value->uses()) {
        if (inside.count(use.user) != 0) continue;
        const std::string reader = use.user->kind() == c10::prim::Return
                                       ? "the model's output"
                                       : use.user->kind().toQualString();
        if (!result) return "a value inside of it is also read by " + reader;
        const bool here = use.user->owningBlock() == last->owningBlock();
        if (here && use.user->kind() != c10::prim::Return && use.user->isBefore(last)) {
          return "a result of it is read by " + reader + " before all of it is done";
        }
      }
    }
  }
  return "";
}

std::vector<std::string> missing_ops(const std::shared_ptr<Graph>& graph,
                                     const std::shared_ptr<Graph>& pattern) {
  std::set<std::string> have;
  for (const Node* node : all_nodes(graph)) have.insert(node->kind().toQualString());
  std::set<std::string> missing;
  for (const Node* node : pattern->nodes()) {
    const std::string name = node->kind().toQualString();
    if (!is_constant(node) && have.count(name) == 0) missing.insert(name);
  }
  return {missing.begin(), missing.end()};
}

}  // namespace ipex_quant::passes
