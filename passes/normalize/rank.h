/// \file
/// The number of dimensions of a value, as far as the graph proves it.
#pragma once

#include <optional>

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Rank of a tensor value, or nothing. Follows shape-preserving operators back to one that fixes
/// the rank; a traced graph that was saved has lost the ranks of its inputs.
std::optional<std::int64_t> rank_of(const Value* value);

/// Size of the last dimension of a tensor value, or nothing.
std::optional<std::int64_t> last_size_of(const Value* value);

}  // namespace ipex_quant::passes
