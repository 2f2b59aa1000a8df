/// \file
/// Checks that a graph is well formed and that every operator in it exists.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Runs torch's lint and resolves each aten, prim and ipex_quant operator against its schemas.
/// Throws with the node's text. `after` names the pass that made the graph.
void verify(const std::shared_ptr<Graph>& graph, const std::string& after);

}  // namespace ipex_quant::passes
