/// \file
/// Notes the calls that a running trace makes, and tells which sites of the trace they are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "passes/pass.h"

namespace ipex_quant::passes {

/// A site as assign_sites will name it in the trace.
struct TracedSite {
  std::string site;
  std::int64_t call;  ///< number of the noted call; -1 when none made the node
};

/// A call that the trace makes, dead or not.
struct TracedCall {
  bool of_numbers = true;  ///< it computes from sizes and weights alone, not from data
};

/// The tracer drops calls whose results are not used, so the n-th call of a family in a trace need
/// not be the n-th that the model makes. While the model runs under the tracer both are known: each
/// call is noted before it runs, and at the end those are kept that the tracer will keep.
///
/// For the thread that runs the trace, while it runs.
class TracedCalls {
 public:
  /// Notes the next call: an operator of this family runs now. Outside of a trace (inside of a
  /// torch.autograd.Function) it is counted, and has no node.
  void note(const std::string& family);

  /// The sites of the trace that returns `outputs`, in program order. `opaque` are the modules
  /// whose ops have none. Throws outside of a trace.
  std::vector<TracedSite> sites(const std::vector<at::Tensor>& outputs,
                                const std::vector<std::string>& opaque);

  /// The calls noted so far; to be read after sites().
  const std::vector<TracedCall>& calls() const { return calls_; }

 private:
  void settle();

  std::vector<TracedCall> calls_;
  std::vector<Node*> nodes_;  ///< of each call, or null
  std::string family_;        ///< of the call that is not settled yet
  Node* before_ = nullptr;    ///< what stood in front of it; null when all are settled
};

}  // namespace ipex_quant::passes
