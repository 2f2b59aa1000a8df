/// \file
/// Says of each op of the original model what became of it.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "passes/fusion/fusion_log.h"
#include "passes/pass.h"
#include "passes/quant/site_params.h"
#include "passes/sites/assign_sites.h"

namespace ipex_quant::passes {

/// Name of the uint8 tensor attribute that holds the report's JSON in a compiled module.
extern const char* const kReportAttribute;

/// Why ops were decided to stay float, by their index in the list of original ops.
using KeptFloat = std::map<std::int64_t, std::string>;

/// Reads the decisions while each op still has a node of its own: before the passes of compile.
KeptFloat kept_float(const std::shared_ptr<Graph>& graph, const std::vector<SiteParams>& sites);

/// The report as JSON:
///   {"version":1,"ops":[{"module":"fc","op":"aten::linear","index":0,"became":"int8",
///                        "kernel":"ipex_quant::linear","epilogue":"relu","reason":""}, ...],
///    "fusions":[{"name":"mine","ops":[0,1],"refusal":""}, ...],
///    "untraced":[{"site":"fc/mean/0","reason":"..."}, ...]}
/// `graph` is the bound graph whose nodes still carry iq_ids, `ops` the original ops.
///   int8          an int8 kernel computes it, alone or as a part of its epilogue; `reason` names
///                 what has its scale at run time, where the site has qparams for less
///   pass_through  it moves int8 data
///   removed       nothing is left of it (dropout, a folded batch_norm, dead code)
/// `fusions` has one entry per match of a user's fusion: indices of the matched ops (none: nothing
/// matched) and why it was left as it was. An op that a rewrite of the user computes is int8 when
/// it reads or makes int8 data, else float, and `kernel` is the user's operator.
///   float         runs in float, for `reason`; `kernel` is empty, or names the kernel in whose
///                 epilogue it is a float32 step, or that reads operands which are int8 anyway
/// `untraced` are calibrated sites that the trace has no call of, so that no op stands for them.
std::string report_json(const std::shared_ptr<Graph>& graph, const std::vector<OriginalOp>& ops,
                        const KeptFloat& kept, const FusionLog& fusions,
                        const std::vector<SiteParams>& untraced);

}  // namespace ipex_quant::passes
