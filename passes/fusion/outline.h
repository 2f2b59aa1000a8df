/// \file
/// Functions of the user as one node, ipex_quant::function, while the passes look for a place for
/// them.
#pragma once

#include <vector>

#include "passes/fusion/fusion.h"
#include "passes/quant/site_params.h"

namespace ipex_quant::passes {

c10::Symbol fusion_attr();  ///< "iq_fusion" string: the fusion that made this node
c10::Symbol steps_attr();   ///< "iq_steps" string: the epilogue steps that a function stands for

/// True for ipex_quant::function.
bool is_function(const Node* node);

/// Replaces the ops of a match by one ipex_quant::function that holds them as a subgraph.
///
/// Before:  %a = aten::mul(%x, %x)         After:  %y = ipex_quant::function[iq_fusion="f"](%x)
///          %b = aten::add(%a, 1, 1)
///          %y = aten::sqrt(%b)
/// An elementwise function gets the site of an op inside of it that calibration saw reading the
/// input, so that the input's range is known. The node runs (it interprets its subgraph), but never
/// reaches a finished module. Returns its output.
Value* outline(Graph& graph, const Fusion& fusion, const PatternMatch& match,
               const std::vector<SiteParams>* sites);

/// Puts the ops of the function back in its place. `reason` says why; so does the log of its
/// fusion, which is one of `fusions` (may be null).
void inline_function(Graph& graph, Node* function, const std::string& reason,
                     const std::vector<Fusion>* fusions);

}  // namespace ipex_quant::passes
