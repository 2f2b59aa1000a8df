/// \file
/// Debugging aids of the pass runner: IR dumps, pass times and log lines, each switched on by an
/// environment variable.
#pragma once

#include <string>

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Writes `<dir>/NN-name.ir` when IPEX_QUANT_DUMP_IR=dir is set. The directory must exist.
void dump_ir(const std::shared_ptr<Graph>& graph, std::size_t number, const std::string& name);

/// True when IPEX_QUANT_TIME_PASSES=1. Another value than 0 or 1 is an error.
bool time_passes();

/// True when IPEX_QUANT_LOG lists the part: a comma-separated list of fusion, kernel, pass, site.
/// Another word is an error. The variable is read on each call, so that a test can change it.
bool log_enabled(const std::string& part);

/// Writes "ipex_quant,part,event,text" to stderr when the part is enabled.
void log(const std::string& part, const std::string& event, const std::string& text);

}  // namespace ipex_quant::passes
