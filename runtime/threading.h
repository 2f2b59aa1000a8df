/// \file
/// torch's intra-op thread pool as the kernels' Parallel.
#pragma once

#include "kernels/parallel.h"

namespace ipex_quant::runtime {

/// The pool of at::parallel_for with the current at::get_num_threads(); serial inside a parallel
/// region, and in a child of a fork whose parent had threads.
kernels::Parallel torch_parallel();

}  // namespace ipex_quant::runtime
