/// \file
/// What a C++ program that runs a quantized model includes: loading the operators, version, ISA.
///
/// Link `ipex_quant::runtime` and call init() once before torch::jit::load. See
/// docs/cpp-serving.md.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ipex_quant/export.h"

namespace ipex_quant {

/// Makes the ipex_quant operators and classes known to torch. They register themselves when the
/// library is loaded; the call keeps a linker from dropping a library that nothing else refers to.
/// Calling it again does nothing.
IPEX_QUANT_API void init();

/// Version of this library, e.g. "0.1.0".
IPEX_QUANT_API std::string version();

/// Version of torch that this library was compiled against, e.g. "2.13.0".
IPEX_QUANT_API std::string built_for_torch();

/// The instruction set that the kernels use: the CPU's best, capped by IPEX_QUANT_ISA or
/// set_isa_cap().
/// \throws std::invalid_argument when IPEX_QUANT_ISA has an unknown value.
IPEX_QUANT_API std::string isa();

/// The best instruction set that this CPU has.
IPEX_QUANT_API std::string cpu_isa();

/// All known instruction sets, weakest first.
IPEX_QUANT_API std::vector<std::string> isa_names();

/// Caps the instruction set from now on; results do not change. Empty: back to the environment's.
/// \throws std::invalid_argument for an unknown name, or for one that this CPU has not.
IPEX_QUANT_API void set_isa_cap(const std::string& name);

/// Memory that the operators' tensors of 16 KiB and more share; see memory_statistics().
struct MemoryStatistics {
  std::size_t reserved;  ///< bytes taken from the system and kept for the next call
  std::size_t used;      ///< of those, bytes in tensors that are alive
};

/// How much memory the operators keep. It stays as large as the largest need so far.
IPEX_QUANT_API MemoryStatistics memory_statistics();

/// Gives kept memory that no tensor uses back to the system; the next call takes it anew.
IPEX_QUANT_API void release_memory();

}  // namespace ipex_quant
