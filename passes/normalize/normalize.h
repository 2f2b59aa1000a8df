/// \file
/// The front half of the compiler: from a traced module to a frozen one in canonical form, with
/// sites.
#pragma once

#include <string>
#include <vector>

#include "passes/pass.h"

namespace ipex_quant::passes {

struct Normalized {
  torch::jit::Module module;  ///< frozen copy; site nodes carry iq_site, compute nodes iq_ids
  std::vector<std::string>
      sites;  ///< all sites of the traced graph in order, also those normalised away
};

/// Runs the normalize rows of the pipeline on a copy. The input module is not changed: constants of
/// the copy share its tensors, attributes do not.
/// Errors: a module in training mode, without forward, or scripted instead of traced.
Normalized normalize(const torch::jit::Module& module, const std::vector<std::string>& opaque,
                     const std::vector<std::string>& preserved_attrs);

}  // namespace ipex_quant::passes
