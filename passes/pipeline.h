/// \file
/// The table of all passes in order, and the runner that checks needs, verifies, dumps and times.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// All passes in order; the names are unique.
const std::vector<Pass>& pipeline();

/// Rows of normalize: all before apply-fusions.
std::vector<Pass> normalize_passes();
/// What compile makes of a normalized graph.
enum class Target {
  kInt8,      ///< int8 operators; what stays float is float32
  kBfloat16,  ///< int8 operators; what stays float runs in bfloat16
  kPortable,  ///< operators of torch alone, with the numbers of int8
};
/// Rows of compile: apply-fusions, and those after it that the target takes.
std::vector<Pass> compile_passes(Target target = Target::kInt8);

/// Row of the given name; an unknown name is an error that lists the names.
const Pass& find_pass(const std::string& name);

/// Runs the rows in order on `graph`. Checks that what each row needs is given by `have` or an
/// earlier row, verifies the graph after each pass, writes dumps (IPEX_QUANT_DUMP_IR) and times
/// (IPEX_QUANT_TIME_PASSES). An error of a pass is rethrown with the name of the pass in front.
/// Returns the properties that hold at the end.
Properties run_pipeline(const std::vector<Pass>& rows, const std::shared_ptr<Graph>& graph,
                        PassContext& context, Properties have = kNone);

/// Runs one pass by name without checking its needs (tests, tools/opt). Returns true when the graph
/// changed.
bool run_pass(const std::string& name, const std::shared_ptr<Graph>& graph, PassContext& context);

/// "kFrozen|kSites": names of the set properties, for messages.
std::string property_names(Properties properties);

}  // namespace ipex_quant::passes
