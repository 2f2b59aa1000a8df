/// \file
/// The instructions of AMX on the eight tile registers. Include it from ISA files only.
///
/// GCC's intrinsics do not tell the compiler that memory is read, so these do.
#pragma once

#include <cstdint>

#include "kernels/unroll.h"

namespace ipex_quant::kernels {
namespace {

constexpr int kTileRegisters = 8;
constexpr int kTileRows = 16;
constexpr int kTileBytes = 64;  // of a row

/// All tiles have 16 rows of 64 bytes.
struct TileConfig {
  alignas(64) uint8_t bytes[64] = {};
  TileConfig() {
    bytes[0] = 1;  // palette
    for (int t = 0; t < kTileRegisters; ++t) {
      bytes[16 + 2 * t] = kTileBytes;
      bytes[48 + t] = kTileRows;
    }
  }
};

}  // namespace
}  // namespace ipex_quant::kernels

#ifdef IPEX_QUANT_EMULATE
#include "kernels/gemm/emulated_tiles.h"
#else

namespace ipex_quant::kernels {
namespace {

inline void configure_tiles(const TileConfig& config) {
  __asm__ volatile("ldtilecfg %0" ::"m"(config));
}
inline void release_tiles() { __asm__ volatile("tilerelease"); }

template <int T>
inline IQ_INLINE void zero_tile() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(T));
}
template <int T>
inline IQ_INLINE void load_tile(const void* p, int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(T) : "memory");
}
template <int T>
inline IQ_INLINE void store_sums(int32_t* p, int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(T) : "memory");
}
/// Sums += u8 rows * s8 weights.
template <int Sums, int Rows, int Weights>
inline IQ_INLINE void multiply_tiles() {
  __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sums), "i"(Rows), "i"(Weights));
}

}  // namespace
}  // namespace ipex_quant::kernels
#endif
