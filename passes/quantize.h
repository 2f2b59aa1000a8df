/// \file
/// The whole compiler in one call: a traced module and the summary of its calibration in, a module
/// with int8 kernels out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "passes/freeze/compile.h"
#include "passes/normalize/normalize.h"
#include "passes/summary/summary.h"

namespace ipex_quant::passes {

/// Name of the uint8 buffer in which the summary rides along with a trace.
extern const char* const kSummaryBuffer;

/// The summary in the buffer of a traced module; nothing when it has none.
std::optional<Summary> summary_of(const torch::jit::Module& traced);

/// Normalizes and compiles a traced module, which is not changed.
Compiled quantize(const torch::jit::Module& traced, Summary summary,
                  const std::vector<Fusion>& fusions,
                  const std::vector<std::string>& preserved_attrs, Target target = Target::kInt8);

/// Compiles a normalized module by a summary that was made for it as it stands.
Compiled compile_by_summary(const Normalized& normalized, const Summary& summary,
                            const std::vector<Fusion>& fusions,
                            const std::vector<std::string>& preserved_attrs,
                            Target target = Target::kInt8);

}  // namespace ipex_quant::passes
