/// \file
/// Implements inline_calls.
#include "passes/sites/inline_calls.h"

#include <torch/csrc/jit/api/function_impl.h>

#include <unordered_map>

#include "passes/sites/read_portable.h"

namespace ipex_quant::passes {

namespace prim = c10::prim;

c10::Symbol module_attr() { return c10::Symbol::attr("iq_module"); }
c10::Symbol script_attr() { return c10::Symbol::attr("iq_script"); }

namespace {

/// Where a body comes from.
struct Origin {
  std::string module;
  bool script = false;
};

class Inliner {
 public:
  explicit Inliner(const std::shared_ptr<Graph>& graph) : graph_(graph) {
    if (!graph->inputs().empty() && graph->inputs()[0]->type()->cast<c10::ClassType>()) {
      paths_[graph->inputs()[0]] = "";
    }
  }

  bool run() {
    visit(graph_->block()->nodes().begin(), graph_->block()->nodes().end(), {});
    return changed_;
  }

 private:
  using Iterator = torch::jit::graph_node_list_iterator;

  void visit(Iterator it, const Iterator& end, const Origin& origin) {
    while (it != end) {
      Node* node = *it;
      if (Node* first = read_portable(node)) {
        changed_ = true;
        it = first->iterator();
        continue;
      }
      if (torch::jit::GraphFunction* callee = called_function(node)) {
        const Origin inner = origin_of_call(node, origin);
        detach_function(node);
        Node* before = node->prev();
        ++it;
        torch::jit::inlineCallTo(node, callee, callee->graph().get());
        changed_ = true;
        visit(before->next()->iterator(), it, inner);
        continue;
      }
      note(node, origin);
      for (Block* block : node->blocks()) {
        visit(block->nodes().begin(), block->nodes().end(), origin);
      }
      ++it;
    }
  }

  static torch::jit::GraphFunction* called_function(Node* node) {
    if (node->kind() == prim::CallFunction) {
      const auto type = node->input(0)->type()->cast<c10::FunctionType>();
      return type ? torch::jit::tryToGraphFunction(*type->function()) : nullptr;
    }
    if (node->kind() == prim::CallMethod) {
      if (const auto type = node->input(0)->type()->cast<c10::ClassType>()) {
        return torch::jit::tryToGraphFunction(type->getMethod(node->s(c10::attr::name)));
      }
    }
    return nullptr;
  }

  Origin origin_of_call(Node* node, const Origin& caller) const {
    if (node->kind() == prim::CallFunction) {
      return {caller.module, true};
    }
    const auto found = paths_.find(node->input(0));
    // A method of a TorchScript class that is no module (an attribute read from a list, a local
    // object): scripted code.
    return found == paths_.end() ? Origin{caller.module, true}
                                 : Origin{found->second, caller.script};
  }

  /// The callee of a prim::CallFunction is its first input; the body does not take it.
  static void detach_function(Node* node) {
    if (node->kind() != prim::CallFunction) {
      return;
    }
    Node* function = node->input(0)->node();
    node->removeInput(0);
    if (!function->hasUses()) {
      function->destroy();
    }
  }

  /// Keeps the paths of module values and writes the origin on the node.
  void note(Node* node, const Origin& origin) {
    if (node->kind() == prim::GetAttr) {
      const auto found = paths_.find(node->input());
      if (found != paths_.end() && node->output()->type()->cast<c10::ClassType>()) {
        const std::string& name = node->s(c10::attr::name);
        paths_[node->output()] = found->second.empty() ? name : found->second + "." + name;
      }
      return;
    }
    if (node->kind() == prim::Constant) {
      return;
    }
    node->s_(module_attr(), origin.module);
    if (origin.script) {
      node->i_(script_attr(), 1);
    }
  }

  std::shared_ptr<Graph> graph_;
  std::unordered_map<Value*, std::string> paths_;
  bool changed_ = false;
};

}  // namespace

bool inline_calls(const std::shared_ptr<Graph>& graph) { return Inliner(graph).run(); }

}  // namespace ipex_quant::passes
