/// \file
/// Marks the sites of a normalised graph for calibration, and turns marked calls back into their
/// original form.
#pragma once

#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/api/module.h>

#include <map>
#include <optional>
#include <string>

namespace ipex_quant::passes {

struct RecordedCall;

/// A copy of a normalised module with ipex_quant::mark("site") (or "site#role") before each node
/// that has a site.
torch::jit::Module instrument(const torch::jit::Module& module);

/// Normalisation gives some operators another form than the one whose operands the site names:
/// addmm becomes a linear, attention becomes two matmuls. This restores the original arguments, so
/// that a listener sees one call per site with the operands of the operator table, whether it ran
/// eagerly or in the graph. Arguments that no operand row names may be missing or None;
/// those of attention are query, key, value and, in place of the rest, its probabilities.
class MarkedCalls {
 public:
  /// The call to report for a marked operator. Nothing when it is the first half of an attention:
  /// it is held until the second half brings the value.
  std::optional<RecordedCall> restore(const std::string& mark, const std::string& name,
                                      c10::ArrayRef<const c10::IValue> arguments);

 private:
  std::map<std::string, std::pair<c10::IValue, c10::IValue>> query_key_;
};

}  // namespace ipex_quant::passes
