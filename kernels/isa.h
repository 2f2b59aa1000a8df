/// \file
/// CPU features, and which of them the kernels may use.
///
/// Selection looks at features only, never at the vendor. Every kernel table takes the features as
/// an argument, so a test can ask what would be chosen on a machine that it does not run on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ipex_quant::kernels {

/// One bit per feature that a kernel may need. kNoFeature is the portable reference path.
enum Feature : uint32_t {
  kNoFeature = 0,
  kAvx2 = 1u << 0,        ///< AVX2 and FMA3
  kAvxVnni = 1u << 1,     ///< VEX-encoded vpdpbusd
  kAvx512 = 1u << 2,      ///< AVX-512 F, BW, DQ and VL
  kAvx512Vnni = 1u << 3,  ///< EVEX vpdpbusd
  kAvx512Vbmi = 1u << 4,  ///< vpermi2b
  kAmxInt8 = 1u << 5,     ///< tile registers and tdpbusd
};
using Features = uint32_t;

/// Features of the CPU this runs on, as far as the operating system saves their registers.
Features cpu_features();

/// Features the kernels use: cpu_features() capped by IPEX_QUANT_ISA or set_isa_cap().
/// \throws std::invalid_argument when IPEX_QUANT_ISA has an unknown value.
Features active_features();

/// Caps active_features() from now on. Empty string: back to what the environment says.
/// \throws std::invalid_argument for an unknown name, or for an ISA this CPU has not.
void set_isa_cap(const std::string& name);

/// Features implied by an ISA name. \throws std::invalid_argument listing the known names.
Features features_of_isa(const std::string& name);

/// Best ISA name that `features` cover: reference, avx2, avx2_vnni, avx512, avx512_vnni,
/// avx512_amx.
std::string isa_name(Features features);

/// All ISA names, weakest first.
const std::vector<std::string>& isa_names();

/// True when a kernel that needs `needs` may run under `features`.
inline bool covers(Features features, Features needs) { return (features & needs) == needs; }

}  // namespace ipex_quant::kernels
