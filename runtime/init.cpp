// The public functions of include/ipex_quant/runtime.h.
#include <torch/version.h>

#include "ipex_quant/runtime.h"
#include "kernels/isa.h"
#include "kernels/memory_pool.h"

namespace ipex_quant {

void init() {}

std::string version() { return IPEX_QUANT_VERSION; }

std::string built_for_torch() { return TORCH_VERSION; }

std::string isa() { return kernels::isa_name(kernels::active_features()); }

std::string cpu_isa() { return kernels::isa_name(kernels::cpu_features()); }

std::vector<std::string> isa_names() { return kernels::isa_names(); }

void set_isa_cap(const std::string& name) { kernels::set_isa_cap(name); }

MemoryStatistics memory_statistics() {
  const auto now = kernels::MemoryPool::tensors().statistics();
  return {now.reserved, now.used};
}

void release_memory() { kernels::MemoryPool::tensors().release_unused(); }

}  // namespace ipex_quant
