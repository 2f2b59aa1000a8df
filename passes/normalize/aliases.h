/// \file
/// Which values of a graph share memory.
#pragma once

#include <unordered_map>
#include <vector>

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Groups of values that may share memory, read off the alias annotations of the schemas.
///
/// It knows less than torch's AliasDb, which also lets every element of a list alias all graph
/// inputs; that would keep the in-place operators of an LSTM cell, whose gates come out of a chunk
/// list. Lists and tuples share a group with their elements. An operator that hides that it returns
/// a view counts as it says, as it does for AliasDb.
class Aliases {
 public:
  explicit Aliases(const std::shared_ptr<Graph>& graph);
  /// The same as far as the nodes before `end`, which is not inside a loop: what is put into a list
  /// together later shares no memory yet.
  Aliases(const std::shared_ptr<Graph>& graph, const Node* end);

  /// All values that may share memory with `value`, itself included.
  const std::vector<Value*>& group(Value* value);
  /// True when the memory may be seen outside of the graph: inputs, attributes, constants.
  bool is_external(Value* value);

 private:
  struct Group {
    std::vector<Value*> members;
    bool external = false;
  };

  void add_block(Block* block);
  void add_node(Node* node);
  void add_schema_aliases(Node* node);
  Value* root(Value* value);
  void join(Value* a, Value* b);

  const Node* end_ = nullptr;
  bool reached_end_ = false;
  std::unordered_map<Value*, Value*> parent_;
  std::unordered_map<Value*, Group> groups_;  ///< by root
};

}  // namespace ipex_quant::passes
