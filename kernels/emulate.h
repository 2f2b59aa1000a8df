/// \file
/// Whether instructions that few CPUs have are carried out by AVX-512 VNNI instead, so that tests
/// of their kernels run: CMake's option IPEX_QUANT_EMULATE, for tests alone.
#pragma once

namespace ipex_quant::kernels {

/// vpdpbusd on 256 bits has two encodings: VEX is the one of AVX-VNNI, EVEX that of AVX-512 VNNI.
/// Without a word the assembler takes EVEX.
#ifdef IPEX_QUANT_EMULATE
constexpr bool kEmulate = true;
#define IQ_VPDPBUSD_256 "%{evex%} vpdpbusd"
#else
constexpr bool kEmulate = false;
#define IQ_VPDPBUSD_256 "%{vex%} vpdpbusd"
#endif

}  // namespace ipex_quant::kernels
