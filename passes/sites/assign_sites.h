/// \file
/// Numbers the original ops of an inlined graph and writes the site key on each op of the operator
/// table.
#pragma once

#include "passes/ir.h"

namespace ipex_quant::passes {

/// One compute op of the graph before any rewriting: the report has a row for each.
struct OriginalOp {
  std::string module;  ///< module path
  std::string op;      ///< e.g. "aten::conv2d"; a traced _convolution is named after its rank
  std::int64_t index;  ///< n-th op of this name in this module path
};

/// Writes iq_site and iq_ids; stores the list of original ops in the module when the context has
/// one.
///
/// A site is "path/family/n": n counts the calls of the family in the module path in program order,
/// whatever their dtype. No sites: shape arithmetic (everything comes from prim::NumToTensor),
/// which eager Python does on integers; nodes in nested blocks and in scripted functions; nodes of
/// modules listed in context.opaque. Such compute ops are numbered all the same, with a reason.
///
/// Before:  %y : Tensor = aten::linear[iq_module="fc"](%x, %w, %b)
/// After:   %y : Tensor = aten::linear[iq_ids=[0], iq_site="fc/linear/0"](%x, %w, %b)
/// Needs kInlined. Gives kSites. Visits nested blocks.
/// Tests: tests/passes/test_sites.py
bool assign_sites(const std::shared_ptr<Graph>& graph, PassContext& context);

/// Site keys of a graph in program order, each once.
std::vector<std::string> list_sites(const std::shared_ptr<Graph>& graph);

/// The list that assign_sites stored in the module (attribute `_ipex_quant_ops`), indexed by
/// iq_ids.
std::vector<OriginalOp> original_ops(const torch::jit::Module& module);

/// Name of the attribute, to be dropped from the finished module.
extern const char* const kOriginalOpsAttribute;

}  // namespace ipex_quant::passes
