/// \file
/// What became of each match of a user's fusion, for the report.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ipex_quant::passes {

/// One match, or a fusion without any.
struct FusionOutcome {
  std::string fusion;
  std::vector<std::int64_t> ids;  ///< original ops that matched; empty: nothing did
  std::string refusal;            ///< why it was left as it was; empty when it was applied
};

/// All outcomes of one compilation, in the order in which they were found.
struct FusionLog {
  std::vector<FusionOutcome> outcomes;
};

}  // namespace ipex_quant::passes
