/// \file
/// Says of each op of the original model what became of it.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

#include "passes/pass.h"
#include "passes/sites/assign_sites.h"

namespace ipex_quant::passes {

/// Name of the uint8 tensor attribute that holds the report's JSON in a compiled module.
extern const char* const kReportAttribute;

/// The report as JSON:
///   {"version":1,"ops":[{"module":"fc","op":"aten::linear","index":0,"became":"int8",
///                        "kernel":"ipex_quant::linear","epilogue":"relu","reason":""}, ...]}
/// `graph` is the bound graph whose nodes still carry iq_ids, `ops` the original ops.
///   int8          an int8 kernel computes it, alone or as a part of its epilogue
///   pass_through  a stock op moves int8 data
///   removed       nothing is left of it (dropout, a folded batch_norm, dead code)
///   float         runs in float, for `reason`
std::string report_json(const std::shared_ptr<Graph>& graph, const std::vector<OriginalOp>& ops);

}  // namespace ipex_quant::passes
