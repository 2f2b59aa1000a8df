/// \file
/// Values of a graph that hold integers or booleans: ids, positions, masks.
#pragma once

#include <unordered_map>

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Finds them as far as the graph proves it (a saved trace has no dtypes).
class Integers {
 public:
  bool has(const Value* value);

 private:
  bool compute(const Value* value);

  std::unordered_map<const Value*, bool> known_;
};

}  // namespace ipex_quant::passes
