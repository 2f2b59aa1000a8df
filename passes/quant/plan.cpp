// Implements make_plan.
#include "passes/quant/plan.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <unordered_set>

#include "passes/fusion/chain.h"
#include "passes/ir.h"
#include "passes/quant/capability.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

/// How a site reads a root; a smaller one knows more of the root's range.
enum class Reads { kDirectly, kMoved, kPartly };

struct Demand {
  std::optional<QParams> qparams;  ///< none: the qparams of `borrow` (cat)
  Value* borrow = nullptr;
  Reads reads = Reads::kDirectly;
};

struct Root {
  Value* value;
  Reads reads;
};

QParams covering(const std::vector<Demand>& demands) {
  const auto alike = [&](const Demand& d) { return *d.qparams == *demands[0].qparams; };
  if (std::all_of(demands.begin(), demands.end(), alike)) return *demands[0].qparams;
  double low = 0;
  double high = 0;
  for (const Demand& demand : demands) {
    const QParams& q = *demand.qparams;
    low = std::min(low, -static_cast<double>(q.zero_point) * q.scale);
    high = std::max(high, static_cast<double>(255 - q.zero_point) * q.scale);
  }
  const double scale = (high - low) / 255;
  return {scale, static_cast<std::int64_t>(std::nearbyint(-low / scale))};
}

class Planner {
 public:
  Planner(const std::shared_ptr<Graph>& graph, const std::vector<SiteParams>& sites)
      : graph_(graph), nodes_(all_nodes(graph)), written_(written_values(graph)) {
    for (const SiteParams& site : sites) sites_[site.site] = &site;
  }

  Plan run() {
    classify();
    do {
      chains_ = std::make_unique<Chains>(graph_, heads(), written_, shapes_);
      collect_anchor_demands();
      collect_demands();
    } while (remove_followers());
    return result();
  }

 private:
  const SiteParams* params_of(const Node* node) const {
    const auto site = site_of(node);
    if (!site) return nullptr;
    const auto found = sites_.find(*site);
    return found == sites_.end() ? nullptr : found->second;
  }

  static const OperandParams* operand_params(const SiteParams& site, const Operand& operand) {
    for (const std::string& name : operand.names) {
      if (const OperandParams* params = site.operand(name)) return params;
    }
    return nullptr;
  }

  /// Qparams of one operand of a node, if its site has them.
  std::optional<QParams> qparams_of(const Node* node, const Operand& operand) const {
    const SiteParams* site = params_of(node);
    const OperandParams* params = site == nullptr ? nullptr : operand_params(*site, operand);
    // In [0, 1] whatever the data, or what calibration saw if 0 has the code 0.
    const bool known = params != nullptr && params->mode == "static" && params->zero_point == 0;
    if (operand.names[0] == "probabilities" && !known) return QParams{1.0 / 255, 0};
    if (params == nullptr || !site->int8 || params->mode != "static") return std::nullopt;
    TORCH_CHECK(std::isfinite(params->scale) && params->scale > 0 && params->zero_point >= 0 &&
                    params->zero_point <= 255,
                "site '", site->site, "', operand '", params->name, "': scale ", params->scale,
                " and zero point ", params->zero_point,
                "; expected a positive finite scale and a zero point from 0 to 255");
    return QParams{params->scale, params->zero_point};
  }

  /// Finds the anchors, and the nodes that may follow.
  void classify() {
    for (Node* node : nodes_) {
      const Kernel kernel = kernel_of(node);
      const SiteParams* site = params_of(node);
      if (kernel == Kernel::kNone || reads_quantized(node)) continue;
      if (site == nullptr && kernel != Kernel::kStack) continue;
      if (site != nullptr && !site->int8) {
        reasons_.emplace_back(node, site->float_reason());
        continue;
      }
      std::string refusal = refusal_of(node);
      if (refusal.empty() && is_anchor(kernel)) refusal = unfit_for_mode(node, *site);
      if (!refusal.empty()) {
        reasons_.emplace_back(node, refusal);
        continue;
      }
      if (is_anchor(kernel)) {
        anchors_.insert(node);
      } else if (has_all_qparams(node)) {
        followers_.insert(node);
      } else {
        reasons_.emplace_back(node, "an operand has no calibrated range");
      }
    }
  }

  /// Why the op stays float whatever its qparams are; empty when it need not.
  std::string unfit_for_mode(Node* node, const SiteParams& site) const {
    for (const Operand& operand : activations_of(node)) {
      if (operand.names[0] == "probabilities") continue;
      const OperandParams* params = operand_params(site, operand);
      TORCH_CHECK(params != nullptr, "site '", site.site,
                  "' is int8 but has no qparams for operand '", operand.names[0],
                  "'; calibrate it, or keep the site float");
      if (params->mode != "static" && !quantizes_at_run_time(kernel_of(node)))
        return "dynamic quantization covers linear and recurrent layers";
    }
    return "";
  }

  /// The op only moves its inputs: they take the qparams of its result.
  static bool borrows(const Node* node) {
    return kernel_of(node) == Kernel::kCat || kernel_of(node) == Kernel::kStack;
  }

  bool has_all_qparams(Node* node) const {
    if (borrows(node)) return true;
    for (const Operand& operand : activations_of(node)) {
      if (!qparams_of(node, operand)) return false;
    }
    return true;
  }

  std::unordered_set<Node*> heads() const {
    std::unordered_set<Node*> heads = anchors_;
    for (Node* node : followers_) {
      if (has_post_ops(kernel_of(node))) heads.insert(node);
    }
    return heads;
  }

  bool moves_in_int8(const Movement& movement) const {
    if (written_.count(movement.input) != 0 || written_.count(movement.output) != 0) return false;
    const SiteParams* site = params_of(movement.node);
    return site == nullptr || site->int8;
  }

  /// An int8 kernel makes the value, or would with a quantize behind it.
  bool made_in_int8(const Value* value) const {
    if (written_.count(value) != 0) return false;
    if (chains_->ending_in(value) != nullptr) return true;
    auto* node = const_cast<Node*>(value->node());
    return followers_.count(node) != 0 && chains_->absorbing(node) == nullptr;
  }

  /// The value above all ops that move data. An op that moves only a part is passed only when that
  /// costs nothing: otherwise more would be quantized than is needed.
  Root root_of(Value* value, bool pass_parts = true) const {
    Root here{value, Reads::kDirectly};
    std::optional<Root> before_part;
    while (const auto movement = movement_of(here.value)) {
      if (!moves_in_int8(*movement)) break;
      if (movement->moves == Moves::kSome) {
        if (!before_part) before_part = here;
        here.reads = Reads::kPartly;
      } else if (here.reads == Reads::kDirectly) {
        here.reads = Reads::kMoved;
      }
      here.value = movement->input;
    }
    if (before_part && (!pass_parts || !(made_in_int8(here.value) || wanted_.count(here.value)))) {
      return *before_part;
    }
    return here;
  }

  /// Roots that anchors want whole.
  void collect_anchor_demands() {
    wanted_.clear();
    for (Node* node : nodes_) {
      if (anchors_.count(node) == 0) continue;
      for (const Operand& operand : activations_of(node)) {
        if (!qparams_of(node, operand) || factor_of(node, operand).defined()) continue;
        wanted_.insert(root_of(operand.reader->input(operand.index), false).value);
      }
    }
  }

  at::Tensor factor_of(const Node* node, const Operand& operand) const {
    const SiteParams* site = params_of(node);
    const OperandParams* params = site == nullptr ? nullptr : operand_params(*site, operand);
    return params == nullptr ? at::Tensor() : params->channel_factor;
  }

  bool is_demanded(const Value* value) const { return demands_.count(value) != 0; }

  /// An operand that a follower or a post-op gets in int8 for nothing.
  bool is_available(Value* value) const {
    const Value* root = root_of(value).value;
    return constant_tensor(value) || made_in_int8(root) || wanted_.count(root) != 0;
  }

  void demand(Node* node, const Operand& operand) {
    Value* value = operand.reader->input(operand.index);
    const auto qparams = qparams_of(node, operand);
    const at::Tensor factor = factor_of(node, operand);
    if (factor.defined()) {
      TORCH_CHECK(qparams, "a channel factor needs static qparams");
      edges_.push_back({{operand.reader, operand.index, *qparams, factor, node}, nullptr});
      return;
    }
    if (!qparams && !borrows(node)) return;
    const Root root = root_of(value);
    Demand demand{qparams, nullptr, root.reads};
    if (borrows(node)) demand = {std::nullopt, node->output(), root.reads};
    demands_[root.value].push_back(demand);
    edges_.push_back({{operand.reader, operand.index, {}, {}, node}, root.value});
  }

  /// Walks upwards, so that all demands on a result are known when its op is reached.
  void collect_demands() {
    demands_.clear();
    edges_.clear();
    for (auto it = nodes_.rbegin(); it != nodes_.rend(); ++it) {
      Node* node = *it;
      if (const Chain* chain = chains_->absorbing(node)) {
        if (is_demanded(chain->end())) demand_addend(node, *chain);
      } else if (anchors_.count(node) != 0 || followers_.count(node) != 0) {
        for (const Operand& operand : activations_of(node)) demand(node, operand);
      }
    }
  }

  /// The tensor that a post-op reads beside the result.
  void demand_addend(Node* node, const Chain& chain) {
    if (reads_quantized(node) || kernel_of(node) != Kernel::kBinary) return;
    const auto at = std::find(chain.nodes.begin(), chain.nodes.end(), node) - chain.nodes.begin();
    const PostOp& post_op = chain.post_ops[static_cast<std::size_t>(at)];
    for (const Operand& operand : activations_of(node)) {
      Value* value = operand.reader->input(operand.index);
      if (operand.index != post_op.other || constant_tensor(value)) continue;
      if (qparams_of(node, operand) && is_available(value)) demand(node, operand);
    }
  }

  /// The result that a follower makes: the end of its chain for one with post-ops.
  const Value* result_of(Node* node) const {
    for (const auto& chain : chains_->all()) {
      if (chain->anchor == node) return chain->end();
    }
    return node->output();
  }

  /// Turns away the followers that have no right to int8: fewer followers never give another one a
  /// right, so all that fail may go at once. False when none failed.
  bool remove_followers() {
    bool removed = false;
    for (Node* node : nodes_) {
      if (followers_.count(node) == 0 || chains_->absorbing(node) != nullptr) continue;
      const std::string reason = refuse_follower(node);
      if (reason.empty()) continue;
      reasons_.emplace_back(node, reason);
      refused_.push_back(node);
    }
    for (Node* node : refused_) removed |= followers_.erase(node) != 0;
    refused_.clear();
    return removed;
  }

  std::string refuse_follower(Node* node) const {
    if (!is_demanded(result_of(node))) return "its result is used in float";
    for (const Operand& operand : activations_of(node)) {
      Value* value = operand.reader->input(operand.index);
      if (is_available(value)) continue;
      const Node* maker = root_of(value).value->node();
      const bool graph_input = maker->kind() == c10::prim::Param;
      return std::string("an input comes from ") +
             (graph_input ? "the model's input" : maker->kind().toQualString()) + " in float";
    }
    return "";
  }

  QParams resolve(Value* root) {
    const auto known = resolved_.find(root);
    if (known != resolved_.end()) return known->second;
    std::vector<Demand> own;
    for (const Demand& demand : demands_.at(root)) {
      if (demand.qparams) own.push_back(demand);
    }
    QParams qparams;
    if (own.empty()) {
      qparams = resolve(demands_.at(root).front().borrow);
    } else {
      // Collected upwards: the op of the program that reads the root first is the last.
      std::reverse(own.begin(), own.end());
      const auto best =
          std::min_element(own.begin(), own.end(),
                           [](const Demand& a, const Demand& b) { return a.reads < b.reads; });
      qparams = best->reads == Reads::kPartly ? covering(with_borrowed(own, root)) : *best->qparams;
    }
    return resolved_[root] = qparams;
  }

  /// Where no op saw all of the root, a cat of it tells of the parts that the others left out.
  std::vector<Demand> with_borrowed(std::vector<Demand> own, Value* root) {
    for (Demand demand : demands_.at(root)) {
      if (demand.qparams || !is_demanded(demand.borrow)) continue;
      demand.qparams = resolve(demand.borrow);
      own.push_back(demand);
    }
    return own;
  }

  Plan result() {
    Plan plan;
    std::unordered_set<const Value*> placed;
    for (auto it = edges_.rbegin(); it != edges_.rend(); ++it) {
      auto& [edge, root] = *it;
      if (root == nullptr) {
        plan.edges.push_back(edge);
        continue;
      }
      edge.qparams = resolve(root);
      if (!made_in_int8(root)) {
        plan.edges.push_back(edge);
      } else if (placed.insert(root).second) {
        plan.values.push_back({root, edge.qparams});
      }
      // torch's stack moves codes: an input with other qparams is requantized in front of it.
      if (kernel_of(edge.op) == Kernel::kStack && !(resolve(root) == resolve(edge.op->output()))) {
        edge.qparams = resolve(edge.op->output());
        plan.edges.push_back(edge);
      }
    }
    for (Node* node : nodes_) {
      if (anchors_.count(node) != 0 && kernel_of(node) != Kernel::kMatmul) {
        plan.weights.emplace_back(node, params_of(node));
      }
      const bool norm = followers_.count(node) != 0 && kernel_of(node) == Kernel::kBatchNorm;
      if (norm) plan.norms.push_back(node);
    }
    plan.reasons = reasons_;
    return plan;
  }

  const std::shared_ptr<Graph>& graph_;
  std::vector<Node*> nodes_;
  std::unordered_set<const Value*> written_;
  std::unordered_map<std::string, const SiteParams*> sites_;
  std::unordered_set<Node*> anchors_;
  std::unordered_set<Node*> followers_;
  std::vector<Node*> refused_;
  std::vector<std::pair<Node*, std::string>> reasons_;
  Shapes shapes_;
  std::unique_ptr<Chains> chains_;
  std::unordered_set<const Value*> wanted_;
  std::unordered_map<const Value*, std::vector<Demand>> demands_;
  std::vector<std::pair<QuantizedEdge, Value*>> edges_;  ///< with the root, or null for a factor
  std::unordered_map<const Value*, QParams> resolved_;
};

}  // namespace

bool reads_quantized(Node* node) {
  const auto quantized = [](const Value* value) {
    return made_by(value, {"ipex_quant::dequantize", "ipex_quant::dequantize_weight"});
  };
  for (const Operand& operand : activations_of(node)) {
    if (quantized(operand.reader->input(operand.index))) return true;
  }
  for (const Value* input : node->inputs()) {
    if (quantized(input)) return true;
    if (!made_by(input, {"prim::ListConstruct"})) continue;
    for (const Value* element : input->node()->inputs()) {
      if (quantized(element)) return true;
    }
  }
  return false;
}

Plan make_plan(const std::shared_ptr<Graph>& graph, const std::vector<SiteParams>& sites) {
  return Planner(graph, sites).run();
}

}  // namespace ipex_quant::passes
