// Implements check_fusion and apply_fusions on torch's subgraph rewriter.
#include "passes/fusion/fusion.h"

#include <torch/csrc/jit/ir/irparser.h>
#include <torch/csrc/jit/ir/subgraph_matcher.h>
#include <torch/csrc/jit/passes/subgraph_rewrite.h>

#include <unordered_map>

#include "passes/dump.h"
#include "passes/ir.h"

namespace ipex_quant::passes {

namespace {

std::shared_ptr<Graph> parse(const Fusion& fusion, const char* side, const std::string& text) {
  auto graph = std::make_shared<Graph>();
  try {
    torch::jit::parseIR(text, graph.get());
  } catch (const std::exception& error) {
    TORCH_CHECK(false, "fusion '", fusion.name, "': its ", side, " does not parse: ", error.what());
  }
  return graph;
}

/// A graph whose nodes carry no ids as long as this lives: torch's matcher wants the attributes of
/// a node to be those of the pattern's, which has none.
class WithoutIds {
 public:
  explicit WithoutIds(const std::shared_ptr<Graph>& graph) : graph_(graph) {
    for (Node* node : all_nodes(graph)) {
      if (!node->hasAttribute(ids_attr())) continue;
      Node* holder = holders_.create(c10::prim::TupleConstruct, 0);
      holder->copyAttributes(*node);
      kept_.emplace(node, holder);
      for (const c10::Symbol name : node->attributeNames()) {
        if (std::string(name.toUnqualString()).rfind("iq_", 0) == 0) node->removeAttribute(name);
      }
    }
  }
  WithoutIds(const WithoutIds&) = delete;
  WithoutIds& operator=(const WithoutIds&) = delete;

  std::vector<std::int64_t> ids_in(const torch::jit::Match& match) const {
    std::vector<std::int64_t> ids;
    for (const auto& [pattern_node, node] : match.nodes_map) {
      const auto kept = kept_.find(node);
      if (kept == kept_.end()) continue;
      const auto more = ids_of(kept->second);
      ids.insert(ids.end(), more.begin(), more.end());
    }
    return ids;
  }

  /// The rewriter destroys what it replaced after it made what is new, so that no new node has the
  /// address of an old one.
  ~WithoutIds() {
    for (Node* node : all_nodes(graph_)) {
      const auto kept = kept_.find(node);
      if (kept != kept_.end()) node->copyAttributes(*kept->second);
    }
  }

 private:
  std::shared_ptr<Graph> graph_;
  Graph holders_;
  std::unordered_map<const Node*, Node*> kept_;
};

}  // namespace

void check_fusion(const Fusion& fusion) {
  TORCH_CHECK(!fusion.name.empty(), "a fusion has no name");
  const auto pattern = parse(fusion, "pattern", fusion.pattern);
  const auto rewrite = parse(fusion, "rewrite", fusion.rewrite);
  TORCH_CHECK(pattern->inputs().size() == rewrite->inputs().size(), "fusion '", fusion.name,
              "': match has ", pattern->inputs().size(), " inputs but rewrite has ",
              rewrite->inputs().size(), "; both sides must list the same inputs in the same order");
  TORCH_CHECK(pattern->outputs().size() == rewrite->outputs().size(), "fusion '", fusion.name,
              "': match has ", pattern->outputs().size(), " outputs but rewrite has ",
              rewrite->outputs().size());
}

bool apply_fusions(const std::shared_ptr<Graph>& graph, const std::vector<Fusion>& fusions) {
  bool changed = false;
  for (const Fusion& fusion : fusions) {
    check_fusion(fusion);
    torch::jit::SubgraphRewriter rewriter;
    rewriter.RegisterRewritePattern(fusion.pattern, fusion.rewrite);
    // The rewriter makes new nodes without attributes: the ids of a match go to the maker of its
    // first output, found again by the users of that output.
    std::vector<std::pair<torch::jit::Use, std::vector<std::int64_t>>> matched;
    {
      const WithoutIds bare(graph);
      auto copy = graph;
      rewriter.runOnGraph(copy, [&](const torch::jit::Match& match, const auto& /*values*/) {
        const Value* output = match.anchor->output(0);
        if (output->hasUses()) matched.emplace_back(output->uses()[0], bare.ids_in(match));
        return true;
      });
    }
    for (const auto& [use, ids] : matched) add_ids(use.user->input(use.offset)->node(), ids);
    changed |= !matched.empty();
    log("fusion", matched.empty() ? "unmatched" : "matched", fusion.name);
  }
  return changed;
}

}  // namespace ipex_quant::passes
