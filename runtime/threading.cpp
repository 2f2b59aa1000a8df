// Hands at::parallel_for to the kernels.
#include "runtime/threading.h"

#include <ATen/Parallel.h>

namespace ipex_quant::runtime {
namespace {

void for_range(void*, int64_t n, int64_t grain, kernels::Parallel::Body body, void* arg) {
  at::parallel_for(0, n, grain, [&](int64_t begin, int64_t end) { body(arg, begin, end); });
}

}  // namespace

kernels::Parallel torch_parallel() {
  return {nullptr, at::in_parallel_region() ? 1 : at::get_num_threads(), for_range};
}

}  // namespace ipex_quant::runtime
