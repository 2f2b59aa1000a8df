/// \file
/// A fusion as data: the IR to find, the IR to put, and what must hold.
#pragma once

#include <string>
#include <vector>

#include "passes/pass.h"

namespace ipex_quant::passes {

/// A rewrite given by the user. Pattern and rewrite are IR texts with the same inputs and outputs,
/// in the same order. Users' fusions are tried first, in the order given.
struct Fusion {
  std::string name;
  std::string pattern;
  std::string rewrite;
};

/// Throws when the texts do not parse, or differ in the number of inputs or outputs.
void check_fusion(const Fusion& fusion);

/// Rewrites every match of each fusion. True when the graph changed.
bool apply_fusions(const std::shared_ptr<Graph>& graph, const std::vector<Fusion>& fusions);

}  // namespace ipex_quant::passes
