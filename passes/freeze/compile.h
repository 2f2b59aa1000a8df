/// \file
/// The back half of the compiler: from a normalized module to one that runs int8 kernels.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

#include "passes/fusion/fusion.h"
#include "passes/pipeline.h"
#include "passes/quant/site_params.h"

namespace ipex_quant::passes {

struct Compiled {
  torch::jit::Module module;  ///< frozen, bound, steady from its first call; holds the report
  std::string report;         ///< report.h
};

/// Runs the compile rows of the pipeline on a copy of a normalized module, which is not changed.
/// `sites` has one entry for each site of the graph; a site without entry is an error that lists
/// the names of both sides. The report names the `untraced` ones, with their reasons.
Compiled compile(const torch::jit::Module& normalized, const std::vector<SiteParams>& sites,
                 const std::vector<Fusion>& fusions,
                 const std::vector<std::string>& preserved_attrs, Target target = Target::kInt8,
                 const std::vector<SiteParams>& untraced = {});

}  // namespace ipex_quant::passes
