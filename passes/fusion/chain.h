/// \file
/// Chains: an op with an int8 kernel, and the ops after it that become its epilogue.
#pragma once

#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "passes/fusion/post_ops.h"
#include "passes/pass.h"
#include "passes/quant/shapes.h"

namespace ipex_quant::passes {

/// One op and its post-ops, in order. `values[0]` is the op's result, `values[i]` that of post-op
/// i.
struct Chain {
  Node* anchor;
  bool open;  ///< false: the kernel has no epilogue but quantize
  std::vector<Node*> nodes;
  std::vector<PostOp> post_ops;
  std::vector<Value*> values;

  Value* end() const { return values.back(); }
  std::size_t steps() const;
  std::size_t tensors() const;
};

/// Which ops of a graph end up in the epilogue of which.
///
/// An op joins a chain when it is the only one that reads the chain's end (reads of its shape do
/// not count), a row of post_ops.h writes it as steps, and the epilogue has room. An op between two
/// chains joins the one whose anchor comes later, so that the other's result is ready by then.
class Chains {
 public:
  /// `heads` are the ops that begin a chain, in program order; one that joins an earlier chain
  /// begins none. Values in `written` are changed in place and never left out of memory.
  Chains(const std::shared_ptr<Graph>& graph, const std::unordered_set<Node*>& heads,
         const std::unordered_set<const Value*>& written, Shapes& shapes);

  /// The chain that ends in this value, or nullptr.
  const Chain* ending_in(const Value* value) const;
  /// The chain that has the node as a post-op, or nullptr.
  const Chain* absorbing(const Node* node) const;
  const std::vector<std::unique_ptr<Chain>>& all() const { return chains_; }

 private:
  void visit(Node* node, bool head);
  bool join(Node* node);

  const std::unordered_set<const Value*>& written_;
  Shapes& shapes_;
  std::vector<std::unique_ptr<Chain>> chains_;
  std::unordered_map<const Value*, Chain*> ends_;
  std::unordered_map<const Node*, Chain*> absorbed_;
  std::unordered_map<const Chain*, std::size_t> order_;
};

}  // namespace ipex_quant::passes
