/// \file
/// Implements TracedCalls on the graph that torch's tracer is writing.
#include "passes/record/traced_calls.h"

#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "passes/ir.h"
#include "passes/sites/assign_sites.h"
#include "passes/sites/inline_calls.h"
#include "passes/sites/op_table.h"

namespace ipex_quant::passes {

namespace prim = c10::prim;

namespace {

/// "iq_call" int: number of the noted call that made the node.
c10::Symbol call_attr() {
  static const c10::Symbol symbol = c10::Symbol::attr("iq_call");
  return symbol;
}

bool is_of_family(const Node* node, const std::string& family) {
  if (!node->kind().is_aten()) return false;
  const c10::FunctionSchema* schema = node->maybeSchema();
  const OpRow* row = find_row(node->kind().toQualString(),
                              schema == nullptr ? std::string() : schema->overload_name());
  return row != nullptr && row->family == family;
}

/// "layers.0.fc" of the scope "__module.layers.0.fc" that the tracer opened for that module.
std::string path_of(const std::string& scope) {
  const std::size_t dot = scope.find('.');
  return dot == std::string::npos ? std::string() : scope.substr(dot + 1);
}

/// The graph of a running trace without the blocks of its modules, ready for assign_sites.
class Flattened {
 public:
  Flattened(const Graph& trace, const std::unordered_map<const Node*, std::int64_t>& calls)
      : calls_(calls) {
    for (const Value* input : trace.inputs()) take_input(input);
    copy(trace.block(), "");
    keep_shared(trace.block());
  }

  const std::shared_ptr<Graph>& graph() const { return graph_; }

  void keep(const Value* of_trace) {
    const auto found = values_.find(of_trace);
    if (found != values_.end()) graph_->registerOutput(found->second);
  }

  /// Whether an input of the graph is an attribute of the model.
  bool is_attribute(const Value* input) const { return attributes_.count(input) != 0; }

  /// The copies of the nodes with calls, by call. They are gone once dead code is eliminated.
  const std::unordered_map<std::int64_t, const Node*>& copies() const { return copies_; }

 private:
  void take_input(const Value* of_trace) {
    values_[of_trace] = graph_->addInput()->setType(of_trace->type());
  }

  void copy(const Block* block, const std::string& path) {
    for (const Node* node : block->nodes()) {
      if (node->kind() == prim::TracedModuleForward) {
        copy(node->blocks().at(0), path_of(node->s(c10::attr::scope)));
      } else if (node->kind() == prim::TracedAttr) {
        take_input(node->output());
        attributes_.insert(values_.at(node->output()));
        keep(node->output());  // what is written to a buffer is kept, as are all of the module's
      } else {
        copy(node, path);
      }
    }
  }

  void copy(const Node* node, const std::string& path) {
    Node* made = graph_->appendNode(graph_->createClone(
        const_cast<Node*>(node), [this](Value* value) { return values_.at(value); }));
    for (std::size_t i = 0; i < node->outputs().size(); ++i) {
      values_[node->output(i)] = made->output(i);
    }
    if (node->kind() != prim::Constant) made->s_(module_attr(), path);
    const auto call = calls_.find(node);
    if (call != calls_.end()) {
      made->i_(call_attr(), call->second);
      copies_[call->second] = made;
    }
  }

  /// The tracer makes a method of each module before it drops what is dead, method by method: a
  /// value that goes from one to another is used, whatever the other does with it.
  void keep_shared(const Block* block) {
    for (const Node* node : block->nodes()) {
      for (const Value* output : node->outputs()) {
        const auto& uses = output->uses();
        const bool shared = std::any_of(uses.begin(), uses.end(), [block](const auto& use) {
          return use.user->owningBlock() != block;
        });
        if (shared) keep(output);
      }
      if (node->kind() == prim::TracedModuleForward) keep_shared(node->blocks().at(0));
    }
  }

  const std::unordered_map<const Node*, std::int64_t>& calls_;
  std::shared_ptr<Graph> graph_ = std::make_shared<Graph>();
  std::unordered_map<const Value*, Value*> values_;
  std::unordered_map<std::int64_t, const Node*> copies_;
  std::unordered_set<const Value*> attributes_;
};

/// The nodes of a flat graph that compute from the inputs of the model, other than from their
/// sizes. What is made of its parameters and buffers alone is the same in every call.
std::unordered_set<const Node*> data_nodes(const Flattened& flat) {
  std::unordered_set<const Node*> data;
  const auto is_data = [&](const Value* value) {
    const bool is_input = value->node() == flat.graph()->param_node();
    return is_input ? !flat.is_attribute(value) : data.count(value->node()) != 0;
  };
  for (const Node* node : flat.graph()->nodes()) {
    if (node->kind() == prim::NumToTensor || is_op(node, {"aten::size", "aten::numel"})) continue;
    const bool has_blocks = node->kind().is_prim() && !node->blocks().empty();
    const bool reads_data =
        has_blocks || std::any_of(node->inputs().begin(), node->inputs().end(), is_data);
    if (reads_data) data.insert(node);
  }
  return data;
}

}  // namespace

void TracedCalls::settle() {
  if (before_ == nullptr) return;
  // A block is a ring: behind its return node comes its first node.
  const Node* end = before_->owningBlock()->return_node();
  Node* node = before_->next();
  while (node != end && !is_of_family(node, family_)) node = node->next();
  if (node != end) nodes_.back() = node;
  before_ = nullptr;
}

void TracedCalls::note(const std::string& family) {
  settle();
  calls_.emplace_back();
  nodes_.push_back(nullptr);
  family_ = family;
  if (torch::jit::tracer::isTracing()) {
    before_ = torch::jit::tracer::getTracingState()->graph->insertPoint()->prev();
  }
}

std::vector<TracedSite> TracedCalls::sites(const std::vector<at::Tensor>& outputs,
                                           const std::vector<std::string>& opaque) {
  settle();
  const auto& state = torch::jit::tracer::getTracingState();
  TORCH_CHECK(state != nullptr, "no trace is running on this thread");
  std::unordered_map<const Node*, std::int64_t> numbers;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i] != nullptr) numbers.emplace(nodes_[i], static_cast<std::int64_t>(i));
  }
  Flattened flat(*state->graph, numbers);
  const auto data = data_nodes(flat);
  for (const auto& [call, node] : flat.copies()) calls_[call].of_numbers = data.count(node) == 0;
  for (const at::Tensor& output : outputs) {
    if (state->hasValue(output)) flat.keep(state->getValue(output));
  }
  torch::jit::EliminateDeadCode(flat.graph());

  PassContext context;
  context.opaque = opaque;
  assign_sites(flat.graph(), context);
  std::vector<TracedSite> found;
  for (const Node* node : flat.graph()->nodes()) {
    const auto site = site_of(node);
    if (!site) continue;
    found.push_back({*site, node->hasAttribute(call_attr()) ? node->i(call_attr()) : -1});
  }
  return found;
}

}  // namespace ipex_quant::passes
