/// \file
/// Implements remove_mutation.
#include "passes/normalize/remove_mutation.h"

#include <torch/csrc/jit/passes/remove_mutation.h>
#include <torch/csrc/jit/runtime/operator.h>

#include <algorithm>

#include "passes/dump.h"
#include "passes/ir.h"
#include "passes/normalize/aliases.h"

namespace ipex_quant::passes {

namespace {

/// The functional name of an in-place operator, or "" when it has none that computes the same.
std::string functional_name(const Node* node) {
  const c10::FunctionSchema* schema = node->maybeSchema();
  if (!node->kind().is_aten() || schema == nullptr || node->outputs().size() != 1 ||
      node->inputs().empty()) {
    return "";
  }
  const std::string name = node->kind().toQualString();
  if (name.back() != '_' || name.back() == name[name.size() - 2]) {
    return "";
  }
  if (is_op(node, {"aten::copy_", "aten::resize_", "aten::resize_as_", "aten::set_",
                   "aten::detach_", "aten::t_", "aten::transpose_", "aten::squeeze_",
                   "aten::unsqueeze_", "aten::swapaxes_", "aten::swapdims_", "aten::bernoulli_",
                   "aten::normal_", "aten::uniform_", "aten::random_", "aten::exponential_"})) {
    return "";
  }
  // Only the first argument may be written, and it must be what is returned.
  const auto& arguments = schema->arguments();
  const bool writes_first =
      arguments[0].alias_info() != nullptr && arguments[0].alias_info()->isWrite();
  const bool writes_other =
      std::any_of(arguments.begin() + 1, arguments.end(), [](const c10::Argument& argument) {
        return argument.alias_info() != nullptr && argument.alias_info()->isWrite();
      });
  if (!writes_first || writes_other) {
    return "";
  }
  const std::string functional = name.substr(0, name.size() - 1);
  const auto symbol = c10::Symbol::fromQualString(functional);
  for (const auto& candidate : torch::jit::getAllOperatorsFor(symbol)) {
    const auto& other = candidate->schema();
    const bool same =
        other.overload_name() == schema->overload_name() &&
        std::equal(other.arguments().begin(), other.arguments().end(), arguments.begin(),
                   arguments.end(), [](const c10::Argument& a, const c10::Argument& b) {
                     return a.name() == b.name() && *a.type() == *b.type();
                   });
    if (same) {
      return functional;
    }
  }
  return "";
}

bool is_used_after(const Value* value, const Node* node) {
  return std::any_of(
      value->uses().begin(), value->uses().end(),
      [node](const torch::jit::Use& use) { return use.user != node && use.user->isAfter(node); });
}

bool holds(const Node* outer, const Node* node) {
  const Node* owner = node->owningBlock()->owningNode();
  return owner != nullptr && (owner == outer || holds(outer, owner));
}

/// True when nodes that stand later may run before this one.
bool is_in_loop(const Node* node) {
  const Node* owner = node->owningBlock()->owningNode();
  return owner != nullptr && (owner->kind() != c10::prim::If || is_in_loop(owner));
}

/// Why the write of `node` may be seen through another value; "" when it may not.
std::string reason_to_stay(Node* node, Aliases& aliases) {
  Value* written = node->input(0);
  if (aliases.is_external(written)) {
    return "it writes to an input, attribute or constant of the graph";
  }
  if (written->node()->owningBlock() != node->owningBlock()) {
    return "it writes to a value from outside of its block";
  }
  for (Value* other : aliases.group(written)) {
    if (other == written || other == node->output()) {
      continue;
    }
    // Values made from the result are later views of it; they follow the result. So do the outputs
    // of a node (prim::If) that holds this one in a block.
    const bool follows = other->node()->isAfter(node) || holds(other->node(), node);
    if (!follows && is_used_after(other, node)) {
      return "a value that shares memory with it is used later";
    }
  }
  return "";
}

void make_functional(Node* node, const std::string& name) {
  const torch::jit::WithInsertPoint guard(node);
  Node* functional =
      node->owningGraph()->create(c10::Symbol::fromQualString(name), node->inputs(), 1);
  functional->output()->setType(node->output()->type());
  functional->copyMetadata(node);
  functional->insertBefore(node);
  inherit(functional, {node});
  Value* written = node->input(0);
  node->output()->replaceAllUsesWith(functional->output());
  node->destroy();
  written->replaceAllUsesAfterNodeWith(functional, functional->output());
}

}  // namespace

bool remove_mutation(const std::shared_ptr<Graph>& graph) {
  bool changed = torch::jit::RemoveListMutation(graph);
  for (Node* node : all_nodes(graph)) {
    const std::string name = functional_name(node);
    if (name.empty()) {
      continue;
    }
    // Anew for each: the rewrite before has split a group.
    Aliases aliases(graph, is_in_loop(node) ? nullptr : node);
    const std::string reason = reason_to_stay(node, aliases);
    if (reason.empty()) {
      make_functional(node, name);
      changed = true;
    } else {
      set_reason(node, "in-place: " + reason);
      log("pass", "remove-mutation",
          std::string(node->kind().toQualString()) + " stays: " + reason);
    }
  }
  return changed;
}

}  // namespace ipex_quant::passes
