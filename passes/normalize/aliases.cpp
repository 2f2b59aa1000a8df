/// \file
/// Implements Aliases: union-find over the values of a graph.
#include "passes/normalize/aliases.h"

#include <algorithm>
#include <set>

#include "passes/ir.h"

namespace ipex_quant::passes {

namespace prim = c10::prim;

namespace {

bool holds_memory(const Value* value) {
  const auto& type = value->type();
  return type->isSubtypeOf(*c10::TensorType::get()) || type->kind() == c10::TypeKind::ListType ||
         type->kind() == c10::TypeKind::TupleType || type->kind() == c10::TypeKind::DictType ||
         type->kind() == c10::TypeKind::OptionalType || type->kind() == c10::TypeKind::ClassType;
}

/// unsafe_chunk and its like promise that the parts and the whole are not used together.
bool gives_parts(const Node* node) {
  return is_op(node, {"aten::unsafe_chunk", "aten::unsafe_split", "aten::unsafe_split_with_sizes"});
}

/// Names of the alias sets of an annotation, those of list elements included.
std::set<c10::Symbol> alias_sets(const c10::AliasInfo* info) {
  std::set<c10::Symbol> sets;
  if (info != nullptr) {
    sets.insert(info->beforeSets().begin(), info->beforeSets().end());
    sets.insert(info->afterSets().begin(), info->afterSets().end());
    for (const c10::AliasInfo& element : info->containedTypes()) {
      const auto inner = alias_sets(&element);
      sets.insert(inner.begin(), inner.end());
    }
  }
  return sets;
}

bool share_memory(const c10::AliasInfo* argument, const c10::AliasInfo* result) {
  const auto sets = alias_sets(argument);
  const auto results = alias_sets(result);
  return std::any_of(results.begin(), results.end(),
                     [&sets](c10::Symbol set) { return sets.count(set) != 0; });
}

}  // namespace

Aliases::Aliases(const std::shared_ptr<Graph>& graph) : Aliases(graph, nullptr) {}

Aliases::Aliases(const std::shared_ptr<Graph>& graph, const Node* end) : end_(end) {
  add_block(graph->block());
}

Value* Aliases::root(Value* value) {
  auto [found, fresh] = parent_.try_emplace(value, value);
  if (fresh) {
    groups_[value].members = {value};
    return value;
  }
  Value* current = value;
  while (parent_[current] != current) {
    current = parent_[current];
  }
  parent_[value] = current;
  return current;
}

void Aliases::join(Value* a, Value* b) {
  if (!holds_memory(a) || !holds_memory(b)) {
    return;
  }
  Value* into = root(a);
  Value* from = root(b);
  if (into == from) {
    return;
  }
  parent_[from] = into;
  Group& target = groups_[into];
  Group& source = groups_[from];
  target.members.insert(target.members.end(), source.members.begin(), source.members.end());
  target.external = target.external || source.external;
  groups_.erase(from);
}

const std::vector<Value*>& Aliases::group(Value* value) { return groups_[root(value)].members; }

bool Aliases::is_external(Value* value) { return groups_[root(value)].external; }

void Aliases::add_block(Block* block) {
  for (Value* input : block->inputs()) {
    if (block->owningNode() == nullptr) {
      groups_[root(input)].external = true;
    }
  }
  for (Node* node : block->nodes()) {
    reached_end_ = reached_end_ || node == end_;
    if (reached_end_) return;
    add_node(node);
  }
}

void Aliases::add_node(Node* node) {
  for (Block* block : node->blocks()) {
    add_block(block);
    if (reached_end_) return;
    // If and Loop: whatever goes in or comes out of a block may be any of the node's values.
    for (Value* output : node->outputs()) {
      for (Value* result : block->outputs()) {
        join(output, result);
      }
    }
    for (Value* input : node->inputs()) {
      for (Value* argument : block->inputs()) {
        join(input, argument);
      }
    }
  }
  if (node->kind() == prim::Constant || node->kind() == prim::GetAttr) {
    groups_[root(node->output())].external = true;
  } else if (node->kind() == prim::ListUnpack && gives_parts(node->input()->node())) {
    // disjoint parts of memory that nothing else reads
  } else if (node->kind().is_prim()) {
    for (Value* output : node->outputs()) {
      for (Value* input : node->inputs()) {
        join(output, input);
      }
    }
  } else {
    add_schema_aliases(node);
  }
}

void Aliases::add_schema_aliases(Node* node) {
  const c10::FunctionSchema* schema = node->maybeSchema();
  // type_as returns its input when the types agree, which its schema does not say.
  const bool unknown = schema == nullptr || schema->is_vararg() || schema->is_varret() ||
                       is_op(node, {"aten::type_as"});
  for (std::size_t out = 0; out < node->outputs().size(); ++out) {
    for (std::size_t in = 0; in < node->inputs().size(); ++in) {
      if (unknown ||
          share_memory(schema->arguments()[in].alias_info(), schema->returns()[out].alias_info())) {
        join(node->output(out), node->input(in));
      }
    }
  }
}

}  // namespace ipex_quant::passes
