/// \file
/// Every kind of kernel with inputs that many threads may share, large enough to be cut into tasks.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/aligned.h"
#include "kernels/epilogue_plan.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace ipex_quant::tests {

using Bytes = kernels::AlignedVector<uint8_t>;

/// One kernel with its inputs, which all threads share. Writes the result to `dst`.
struct KernelCase {
  std::string name;
  int64_t bytes;  ///< of the result
  std::function<void(uint8_t* dst, kernels::Features features, const kernels::Parallel& parallel)>
      run;
};

/// Any values, the same in each run.
Bytes random_bytes(int64_t count);
kernels::AlignedVector<int8_t> random_weights(int64_t count);
/// Floats from -1 to 1.
kernels::AlignedVector<float> random_floats(int64_t count);

/// gelu, then quantize.
kernels::EpiloguePlan quantizing();

/// Linear layers, static and dynamic, convolutions, matmul and attention.
std::vector<KernelCase> product_cases();
/// LSTM and GRU.
std::vector<KernelCase> recurrent_cases();
/// Norms, pools, embeddings and elementwise kernels.
std::vector<KernelCase> row_cases();
/// Of all files.
std::vector<KernelCase> all_cases();

}  // namespace ipex_quant::tests
