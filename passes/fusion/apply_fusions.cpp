// Implements apply_fusions and apply_int8_fusions.
#include "passes/fusion/apply_fusions.h"

#include <algorithm>
#include <set>
#include <sstream>

#include "passes/dump.h"
#include "passes/fusion/outline.h"
#include "passes/ir.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

std::vector<std::int64_t> ids_in(const PatternMatch& match) {
  std::set<std::int64_t> ids;
  for (const Node* node : match.nodes) {
    const auto more = ids_of(node);
    ids.insert(more.begin(), more.end());
  }
  return {ids.begin(), ids.end()};
}

bool is_constant(const Node* node) { return node->kind() == c10::prim::Constant; }

/// Gives each new op what the matched op of its kind carried; the rest of the ids go to the others.
void hand_on(const Fusion& fusion, const PatternMatch& match, const std::vector<Node*>& made) {
  std::vector<Node*> left = match.nodes;
  std::vector<Node*> others;
  for (Node* node : made) {
    const auto same = std::find_if(left.begin(), left.end(),
                                   [node](const Node* old) { return old->kind() == node->kind(); });
    if (same == left.end()) {
      others.push_back(node);
      continue;
    }
    inherit(node, {*same});
    left.erase(same);
  }
  for (Node* node : others.empty() ? made : others) {
    for (const Node* old : left) add_ids(node, ids_of(old));
    if (!node->sourceRange().source()) node->setSourceRange(match.nodes[0]->sourceRange());
    node->s_(fusion_attr(), fusion.name);
  }
}

bool wants_number(const Value* input) {
  return input->type()->kind() == c10::TypeKind::FloatType ||
         input->type()->kind() == c10::TypeKind::IntType;
}

bool is_number(const Value* value) { return wants_number(value) && !constant_of(value); }

/// What the rewrite's input stands for. The tracer writes numbers as tensors without dimensions.
Value* argument_for(Graph& graph, const Value* input, Value* value) {
  const auto number = constant_number(value);
  if (!wants_number(input) || !number) return value;
  const bool whole = input->type()->kind() == c10::TypeKind::IntType;
  return insert_constant(graph, whole ? c10::IValue(static_cast<std::int64_t>(*number))
                                      : c10::IValue(*number));
}

/// Puts the rewrite in place of the match; its outputs.
std::vector<Value*> rewrite(Graph& graph, const Fusion& fusion, const PatternMatch& match) {
  const torch::jit::WithInsertPoint guard(match.nodes.back()->next());
  std::unordered_map<Value*, Value*> values;
  for (std::size_t i = 0; i < fusion.rewrite->inputs().size(); ++i) {
    Value* input = fusion.rewrite->inputs()[i];
    values[input] = argument_for(graph, input, match.input(i));
  }
  std::vector<Node*> made;
  for (Node* node : fusion.rewrite->nodes()) {
    Node* clone =
        graph.insertNode(graph.createClone(node, [&](Value* value) { return values.at(value); }));
    for (std::size_t i = 0; i < node->outputs().size(); ++i) {
      values[node->output(i)] = clone->output(i);
    }
    if (!is_constant(node)) made.push_back(clone);
  }
  hand_on(fusion, match, made);
  std::vector<Value*> results;
  for (std::size_t i = 0; i < fusion.pattern->outputs().size(); ++i) {
    results.push_back(values.at(fusion.rewrite->outputs()[i]));
    match.output(i)->replaceAllUsesWith(results.back());
  }
  for (auto node = match.nodes.rbegin(); node != match.nodes.rend(); ++node) (*node)->destroy();
  return results;
}

std::string refuse(const Fusion& fusion, const PatternMatch& match,
                   const std::unordered_set<const Value*>& written) {
  const std::string reason = refuse_replacing(match, written);
  if (!reason.empty()) return reason;
  for (std::size_t i = 0; fusion.rewrite != nullptr && i < fusion.rewrite->inputs().size(); ++i) {
    const Value* value = match.input(i);
    if (!wants_number(fusion.rewrite->inputs()[i]) || is_number(value)) continue;
    if (!constant_number(value)) {
      return "%" + fusion.rewrite->inputs()[i]->debugName() + " is no number there";
    }
  }
  for (const Guard& guard : fusion.guards) {
    const std::string why = guard.refuse(match);
    if (!why.empty()) return guard.statement + ": " + why;
  }
  return "";
}

/// Why a fusion has no match, as far as one can say.
std::string nothing_found(const std::shared_ptr<Graph>& graph, const Fusion& fusion) {
  const auto missing = missing_ops(graph, fusion.pattern);
  if (missing.empty()) return "its pattern does not occur in the model";
  std::ostringstream text;
  text << "its pattern does not occur in the model, which has no ";
  for (std::size_t i = 0; i < missing.size(); ++i) text << (i == 0 ? "" : ", ") << missing[i];
  return text.str();
}

class Applier {
 public:
  Applier(const std::shared_ptr<Graph>& graph, const PassContext& context)
      : graph_(graph), context_(context) {}

  bool run(On on) {
    std::vector<const Fusion*> fusions;
    for (const Fusion& fusion : *context_.fusions) {
      if (fusion.on == on) fusions.push_back(&fusion);
    }
    std::stable_sort(fusions.begin(), fusions.end(),
                     [](const Fusion* a, const Fusion* b) { return a->size() > b->size(); });
    bool changed = false;
    for (const Fusion* fusion : fusions) changed |= apply(*fusion);
    if (changed) remove_dead(graph_);
    return changed;
  }

 private:
  bool apply(const Fusion& fusion) {
    bool changed = false;
    const auto written = written_values(graph_);
    auto matches = find_matches(graph_, fusion.pattern);
    std::set<const Node*> gone;
    replaced_.clear();
    for (PatternMatch& match : matches) {
      const bool overlaps = std::any_of(match.nodes.begin(), match.nodes.end(),
                                        [&](const Node* node) { return gone.count(node) != 0; });
      if (overlaps) continue;
      for (auto& [pattern, value] : match.values) value = latest(value);
      const auto ids = ids_in(match);
      const std::string reason = refuse(fusion, match, written);
      note(fusion, ids, reason);
      if (!reason.empty()) {
        for (Node* node : match.nodes) set_reason(node, "fusion '" + fusion.name + "': " + reason);
        continue;
      }
      gone.insert(match.nodes.begin(), match.nodes.end());
      const std::vector<Value*> results =
          fusion.becomes == Becomes::kRewrite
              ? rewrite(*graph_, fusion, match)
              : std::vector<Value*>{outline(*graph_, fusion, match, context_.sites)};
      for (std::size_t i = 0; i < results.size(); ++i) replaced_[match.output(i)] = results[i];
      changed = true;
    }
    if (matches.empty()) note(fusion, {}, nothing_found(graph_, fusion));
    return changed;
  }

  /// What stands in the graph for a value that an earlier match replaced.
  Value* latest(Value* value) const {
    const auto found = replaced_.find(value);
    return found == replaced_.end() ? value : found->second;
  }

  static void note(const Fusion& fusion, const std::vector<std::int64_t>& ids,
                   const std::string& refusal) {
    const char* event = refusal.empty() ? "matched" : ids.empty() ? "unmatched" : "refused";
    log("fusion", event, fusion.name + (refusal.empty() ? "" : ": " + refusal));
    if (fusion.log != nullptr) fusion.log->outcomes.push_back({fusion.name, ids, refusal});
  }

  const std::shared_ptr<Graph>& graph_;
  const PassContext& context_;
  std::unordered_map<Value*, Value*> replaced_;  ///< of one fusion; the old values are gone
};

}  // namespace

bool apply_fusions(const std::shared_ptr<Graph>& graph, PassContext& context) {
  if (context.fusions == nullptr) return false;
  check_names(*context.fusions);
  return Applier(graph, context).run(On::kFloat);
}

bool apply_int8_fusions(const std::shared_ptr<Graph>& graph, const PassContext& context) {
  return context.fusions != nullptr && Applier(graph, context).run(On::kInt8);
}

}  // namespace ipex_quant::passes
