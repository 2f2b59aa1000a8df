/// \file
/// Implements the graph helpers of ir.h.
#include "passes/ir.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/canonicalize.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/runtime/operator.h>

#include <algorithm>
#include <regex>

namespace ipex_quant::passes {

using c10::Symbol;

namespace {

Symbol named(const char* name) { return Symbol::attr(name); }

std::size_t count_nodes(Block* block) {
  std::size_t count = 0;
  for_each_node(block, [&count](Node*) { ++count; });
  return count;
}

/// True when the inputs are of the types of the first arguments and all others have defaults.
bool accepts(const c10::FunctionSchema& schema, const std::vector<Value*>& inputs) {
  const auto& arguments = schema.arguments();
  if (inputs.size() > arguments.size()) {
    return false;
  }
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const bool fits = i < inputs.size() ? inputs[i]->type()->isSubtypeOf(*arguments[i].type())
                                        : arguments[i].default_value().has_value();
    if (!fits) {
      return false;
    }
  }
  return true;
}

}  // namespace

Symbol site_attr() { return named("iq_site"); }
Symbol ids_attr() { return named("iq_ids"); }
Symbol role_attr() { return named("iq_role"); }
Symbol reason_attr() { return named("iq_reason"); }
Symbol anchor_attr() { return named("iq_anchor"); }
Symbol run_time_attr() { return named("iq_run_time"); }

std::optional<std::string> site_of(const Node* node) {
  if (!node->hasAttribute(site_attr())) {
    return std::nullopt;
  }
  return node->s(site_attr());
}

std::string role_of(const Node* node) {
  return node->hasAttribute(role_attr()) ? node->s(role_attr()) : std::string();
}

std::vector<std::int64_t> ids_of(const Node* node) {
  return node->hasAttribute(ids_attr()) ? node->is(ids_attr()) : std::vector<std::int64_t>();
}

void add_ids(Node* node, const std::vector<std::int64_t>& ids) {
  if (ids.empty()) {
    return;
  }
  std::vector<std::int64_t> all = ids_of(node);
  all.insert(all.end(), ids.begin(), ids.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  node->is_(ids_attr(), std::move(all));
}

void inherit(Node* node, const std::vector<Node*>& replaced) {
  for (const Node* old : replaced) {
    add_ids(node, ids_of(old));
    for (const Symbol attribute : {site_attr(), role_attr(), reason_attr()}) {
      if (!node->hasAttribute(attribute) && old->hasAttribute(attribute)) {
        node->s_(attribute, old->s(attribute));
      }
    }
    if (old->hasAttribute(run_time_attr())) node->i_(run_time_attr(), old->i(run_time_attr()));
  }
  if (!replaced.empty() && !node->sourceRange().source()) {
    node->setSourceRange(replaced.front()->sourceRange());
  }
}

void inherit(Node* node, std::initializer_list<const Node*> replaced) {
  std::vector<Node*> nodes;
  for (const Node* old : replaced) {
    nodes.push_back(const_cast<Node*>(old));
  }
  inherit(node, nodes);
}

void set_reason(Node* node, const std::string& reason) {
  if (!node->hasAttribute(reason_attr())) {
    node->s_(reason_attr(), reason);
  }
}

void for_each_node(Block* block, const std::function<void(Node*)>& visit) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it;
    ++it;  // before the visit: it may destroy the node
    for (Block* nested : node->blocks()) {
      for_each_node(nested, visit);
    }
    visit(node);
  }
}

std::vector<Node*> all_nodes(const std::shared_ptr<Graph>& graph) {
  std::vector<Node*> nodes;
  for_each_node(graph->block(), [&nodes](Node* node) { nodes.push_back(node); });
  return nodes;
}

bool is_op(const Node* node, std::initializer_list<const char*> names) {
  const char* kind = node->kind().toQualString();
  return std::any_of(names.begin(), names.end(),
                     [kind](const char* name) { return std::string(name) == kind; });
}

bool made_by(const Value* value, std::initializer_list<const char*> names) {
  return is_op(value->node(), names);
}

std::optional<c10::IValue> constant_of(const Value* value) { return torch::jit::toIValue(value); }

std::optional<at::Tensor> constant_tensor(const Value* value) {
  const auto constant = constant_of(value);
  if (!constant || !constant->isTensor() || !constant->toTensor().defined()) {
    return std::nullopt;
  }
  return constant->toTensor();
}

std::optional<double> constant_number(const Value* value) {
  const auto constant = constant_of(value);
  if (!constant) {
    return std::nullopt;
  }
  if (constant->isInt()) {
    return static_cast<double>(constant->toInt());
  }
  if (constant->isDouble()) {
    return constant->toDouble();
  }
  if (constant->isBool()) {
    return constant->toBool() ? 1.0 : 0.0;
  }
  if (constant->isTensor() && constant->toTensor().defined() && constant->toTensor().dim() == 0 &&
      !constant->toTensor().is_complex()) {
    return constant->toTensor().item<double>();
  }
  return std::nullopt;
}

std::optional<std::int64_t> constant_int(const Value* value) {
  const auto constant = constant_of(value);
  if (!constant || !constant->isInt()) {
    return std::nullopt;
  }
  return constant->toInt();
}

std::optional<bool> constant_bool(const Value* value) {
  const auto constant = constant_of(value);
  if (!constant || !constant->isBool()) {
    return std::nullopt;
  }
  return constant->toBool();
}

std::optional<std::vector<std::int64_t>> constant_ints(const Value* value) {
  const auto constant = constant_of(value);
  if (constant && constant->isIntList()) {
    return constant->toIntVector();
  }
  if (constant || !made_by(value, {"prim::ListConstruct"})) {
    return std::nullopt;
  }
  std::vector<std::int64_t> values;
  for (const Value* element : value->node()->inputs()) {
    const auto number = constant_int(element);
    if (!number) {
      return std::nullopt;
    }
    values.push_back(*number);
  }
  return values;
}

std::optional<std::string> constant_string(const Value* value) {
  const auto constant = constant_of(value);
  if (!constant || !constant->isString()) {
    return std::nullopt;
  }
  return constant->toStringRef();
}

bool is_none(const Value* value) { return value->mustBeNone(); }

Value* argument(const Node* node, const std::string& name) {
  const c10::FunctionSchema* schema = node->maybeSchema();
  if (schema == nullptr) {
    return nullptr;
  }
  const auto index = schema->argumentIndexWithName(name);
  if (!index || static_cast<std::size_t>(*index) >= node->inputs().size()) {
    return nullptr;
  }
  return const_cast<Value*>(node->input(*index));
}

Node* only_user(const Value* value) {
  if (value->uses().size() != 1) {
    return nullptr;
  }
  Node* user = value->uses().front().user;
  return user->kind() == c10::prim::Return ? nullptr : user;
}

Value* insert_constant(Graph& graph, const c10::IValue& value) {
  return graph.insertConstant(value);
}

Value* insert_call(Graph& graph, const char* kind, const std::vector<Value*>& inputs) {
  const Symbol symbol = Symbol::fromQualString(kind);
  for (const auto& candidate : torch::jit::getAllOperatorsFor(symbol)) {
    const c10::FunctionSchema& schema = candidate->schema();
    if (!accepts(schema, inputs)) {
      continue;
    }
    std::vector<Value*> all = inputs;
    for (std::size_t i = inputs.size(); i < schema.arguments().size(); ++i) {
      all.push_back(graph.insertConstant(*schema.arguments()[i].default_value()));
    }
    Node* node = graph.create(symbol, all, schema.returns().size());
    for (std::size_t i = 0; i < schema.returns().size(); ++i) {
      node->output(i)->setType(schema.returns()[i].type());
    }
    return graph.insertNode(node)->outputs().at(0);
  }
  TORCH_CHECK(false, "no overload of ", kind, " takes the ", inputs.size(), " arguments given");
}

Node* after(const Value* value) {
  Node* node = const_cast<Node*>(value->node());
  if (node->kind() != c10::prim::Param) return node->next();
  return *node->owningBlock()->nodes().begin();
}

void replace_value(Value* old, Value* value) {
  old->replaceAllUsesWith(value);
  if (old->hasDebugName() && !value->hasDebugName()) value->setDebugName(old->debugName());
}

void replace_node(Node* old, Value* value) {
  replace_value(old->output(), value);
  old->destroy();
}

bool remove_dead(const std::shared_ptr<Graph>& graph) {
  const std::size_t before = count_nodes(graph->block());
  torch::jit::EliminateDeadCode(graph);
  return count_nodes(graph->block()) != before;
}

std::string canonical_text(const std::shared_ptr<Graph>& graph) {
  const auto copy = torch::jit::Canonicalize(graph->copy(), /*keep_unique_names=*/false);
  static const std::regex kAddress("0x[0-9a-f]+");
  return std::regex_replace(copy->toString(/*print_source_locations=*/false), kAddress, "0x");
}

}  // namespace ipex_quant::passes
