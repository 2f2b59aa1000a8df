// Implements the operator ipex_quant::function, and the way to it and back.
#include "passes/fusion/outline.h"

#include <torch/csrc/jit/runtime/custom_operator.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <algorithm>
#include <unordered_map>

#include "passes/dump.h"
#include "passes/ir.h"

namespace ipex_quant::passes {

namespace {

using torch::jit::Code;
using torch::jit::InterpreterState;
using torch::jit::Operation;
using torch::jit::Stack;

constexpr const char* kFunction = "ipex_quant::function";

Operation interpret(const Node* node) {
  const Code code(node->g(c10::attr::Subgraph), "ipex_quant::function");
  const std::size_t inputs = node->inputs().size();
  return [code, inputs](Stack& stack) {
    Stack own(stack.end() - static_cast<std::ptrdiff_t>(inputs), stack.end());
    torch::jit::drop(stack, inputs);
    InterpreterState(code).run(own);
    stack.push_back(own.at(0));
  };
}

// Two overloads: a node must give every argument of its schema.
const torch::jit::RegisterOperators kRegistered({
    torch::jit::Operator("ipex_quant::function(Tensor x) -> Tensor", interpret,
                         c10::AliasAnalysisKind::PURE_FUNCTION),
    torch::jit::Operator("ipex_quant::function.tensor(Tensor x, Tensor other) -> Tensor", interpret,
                         c10::AliasAnalysisKind::PURE_FUNCTION),
});

const SiteParams* find_site(const std::vector<SiteParams>& sites, const std::string& name) {
  const auto found = std::find_if(sites.begin(), sites.end(),
                                  [&](const SiteParams& site) { return site.site == name; });
  return found == sites.end() ? nullptr : &*found;
}

/// Names that the op table gives the i-th input of an op of one or two activations.
std::vector<const char*> operand_names(std::size_t i) {
  return i == 0 ? std::vector<const char*>{"input", "a"} : std::vector<const char*>{"b"};
}

/// Takes site and operand name of the first matched op that calibration saw reading `x`.
void take_site(Node* function, const PatternMatch& match, const Value* x,
               const std::vector<SiteParams>* sites) {
  if (sites == nullptr) return;
  for (const Node* node : match.nodes) {
    const auto name = site_of(node);
    const SiteParams* site = name ? find_site(*sites, *name) : nullptr;
    for (std::size_t i = 0; site != nullptr && i < std::min<std::size_t>(2, node->inputs().size());
         ++i) {
      if (node->input(i) != x) continue;
      for (const char* operand : operand_names(i)) {
        if (site->int8 && site->operand(operand) == nullptr) continue;
        function->s_(site_attr(), *name);
        function->s_(role_attr(), operand);
        return;
      }
    }
  }
  set_reason(function, "calibration has no range for its input: no op that reads it is recorded");
}

void note_refusal(const std::vector<Fusion>& fusions, const std::string& name,
                  const std::vector<std::int64_t>& ids, const std::string& reason) {
  for (const Fusion& fusion : fusions) {
    if (fusion.name != name || fusion.log == nullptr) continue;
    for (FusionOutcome& outcome : fusion.log->outcomes) {
      if (outcome.fusion == name && outcome.ids == ids) outcome.refusal = reason;
    }
  }
}

}  // namespace

c10::Symbol fusion_attr() { return c10::Symbol::attr("iq_fusion"); }
c10::Symbol steps_attr() { return c10::Symbol::attr("iq_steps"); }

bool is_function(const Node* node) { return is_op(node, {kFunction}); }

Value* outline(Graph& graph, const Fusion& fusion, const PatternMatch& match,
               const std::vector<SiteParams>* sites) {
  auto subgraph = std::make_shared<Graph>();
  std::unordered_map<Value*, Value*> values;
  std::vector<Value*> inputs;
  for (std::size_t i = 0; i < match.pattern->inputs().size(); ++i) {
    inputs.push_back(match.input(i));
    values[match.input(i)] = subgraph->addInput();
  }
  const auto inner = [&](Value* value) {
    const auto known = values.find(value);
    if (known != values.end()) return known->second;
    // A constant, or a list of constants that stands for one.
    const auto constant = constant_of(value);
    Value* copy = constant ? subgraph->insertConstant(*constant)
                           : subgraph->insertConstant(constant_ints(value).value());
    return values[value] = copy;
  };
  for (Node* node : match.nodes) {
    Node* copy = subgraph->insertNode(subgraph->createClone(node, inner));
    for (std::size_t i = 0; i < node->outputs().size(); ++i) {
      values[node->output(i)] = copy->output(i);
    }
  }
  subgraph->registerOutput(values.at(match.output(0)));

  const torch::jit::WithInsertPoint guard(match.nodes.back()->next());
  Node* function = graph.insertNode(graph.create(c10::Symbol::fromQualString(kFunction), inputs));
  function->g_(c10::attr::Subgraph, subgraph);
  function->s_(fusion_attr(), fusion.name);
  for (const Node* node : match.nodes) add_ids(function, ids_of(node));
  function->setSourceRange(match.nodes[0]->sourceRange());
  if (fusion.becomes == Becomes::kPostOp) function->s_(steps_attr(), fusion.steps);
  if (inputs.size() == 1) take_site(function, match, inputs[0], sites);
  replace_value(match.output(0), function->output());
  for (auto node = match.nodes.rbegin(); node != match.nodes.rend(); ++node) (*node)->destroy();
  return function->output();
}

void inline_function(Graph& graph, Node* function, const std::string& reason,
                     const std::vector<Fusion>* fusions) {
  const std::string name = function->s(fusion_attr());
  const torch::jit::WithInsertPoint guard(function);
  std::unordered_map<Value*, Value*> values;
  const auto& subgraph = function->g(c10::attr::Subgraph);
  for (std::size_t i = 0; i < function->inputs().size(); ++i) {
    values[subgraph->inputs()[i]] = function->input(i);
  }
  for (Node* node : subgraph->nodes()) {
    Node* copy =
        graph.insertNode(graph.createClone(node, [&](Value* value) { return values.at(value); }));
    for (std::size_t i = 0; i < node->outputs().size(); ++i) {
      values[node->output(i)] = copy->output(i);
    }
    if (node->kind() != c10::prim::Constant) {
      copy->setSourceRange(function->sourceRange());
      set_reason(copy, "fusion '" + name + "': " + reason);
    }
  }
  log("fusion", "refused", name + ": " + reason);
  if (fusions != nullptr) note_refusal(*fusions, name, ids_of(function), reason);
  replace_node(function, values.at(subgraph->outputs()[0]));
}

}  // namespace ipex_quant::passes
