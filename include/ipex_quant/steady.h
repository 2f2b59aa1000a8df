/// \file
/// Makes a TorchScript module run at full speed from its first call.
#pragma once

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>

namespace ipex_quant {

/// Makes the execution plans of the module's methods now, from its graphs as they stand.
///
/// torch's default executor profiles the first call and rewrites the graph for the second, which
/// costs tens of milliseconds and finds nothing in a graph of bound int8 kernels. Call it after
/// torch::jit::load and before the first forward; it has no effect on a method that ran before, and
/// none on results. `ipex_quant.jit.quantize` does it for the module it returns; it is not part of
/// a saved file.
inline void make_steady(const torch::jit::Module& module) {
  for (const torch::jit::Method& method : module.get_methods()) {
    if (auto* function = torch::jit::tryToGraphFunction(method.function())) {
      function->_set_initial_executor_execution_mode(torch::jit::ExecutorExecutionMode::SIMPLE);
      torch::jit::Stack no_inputs;  // a plan of the simple executor does not depend on them
      function->get_executor().getPlanFor(no_inputs, std::nullopt);
    }
  }
}

}  // namespace ipex_quant
