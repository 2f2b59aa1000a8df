/// \file
/// What the instructions of tile_registers.h do, for CPUs without AMX: in tests only.
///
/// As on the CPU, registers belong to a thread, hold nothing outside of configure_tiles() and
/// release_tiles(), and an instruction on tiles that are not configured for it ends the program. A
/// sanitizer sees what is loaded and stored.
#pragma once

#include <immintrin.h>

#include <cstddef>

#include "kernels/gemm/tile_registers.h"

namespace ipex_quant::kernels {
namespace {

struct EmulatedTile {
  int rows;   ///< 0: not configured
  int bytes;  ///< of a row
  alignas(64) uint8_t data[kTileRows][kTileBytes];
};
thread_local EmulatedTile t_tiles[kTileRegisters];

inline void demand(bool holds) {
  if (!holds) __builtin_trap();
}

template <int T>
inline EmulatedTile& emulated_tile() {
  static_assert(T >= 0 && T < kTileRegisters);
  demand(t_tiles[T].rows > 0);
  return t_tiles[T];
}

template <int T>
inline void zero_tile() {
  __builtin_memset(emulated_tile<T>().data, 0, sizeof(t_tiles[T].data));
}

inline void release_tiles() { __builtin_memset(t_tiles, 0, sizeof(t_tiles)); }

inline void configure_tiles(const TileConfig& config) {
  demand(config.bytes[0] == 1);
  release_tiles();
  for (int t = 0; t < kTileRegisters; ++t) {
    t_tiles[t].bytes = config.bytes[16 + 2 * t];
    t_tiles[t].rows = config.bytes[48 + t];
    demand(t_tiles[t].bytes <= kTileBytes && t_tiles[t].rows <= kTileRows);
  }
}

template <int T>
inline void load_tile(const void* p, int64_t stride) {
  zero_tile<T>();
  EmulatedTile& tile = emulated_tile<T>();
  const auto* from = static_cast<const uint8_t*>(p);
  for (int r = 0; r < tile.rows; ++r) {
    __builtin_memcpy(tile.data[r], from + r * stride, static_cast<size_t>(tile.bytes));
  }
}

template <int T>
inline void store_sums(int32_t* p, int64_t stride) {
  const EmulatedTile& tile = emulated_tile<T>();
  auto* to = reinterpret_cast<uint8_t*>(p);
  for (int r = 0; r < tile.rows; ++r) {
    __builtin_memcpy(to + r * stride, tile.data[r], static_cast<size_t>(tile.bytes));
  }
}

/// Sums += u8 rows * s8 weights: four bytes of a row times a row of weights at a time.
template <int Sums, int Rows, int Weights>
inline void multiply_tiles() {
  EmulatedTile& sums = emulated_tile<Sums>();
  const EmulatedTile& rows = emulated_tile<Rows>();
  const EmulatedTile& weights = emulated_tile<Weights>();
  demand(sums.rows == rows.rows && sums.bytes == weights.bytes && rows.bytes == 4 * weights.rows);
  for (int r = 0; r < sums.rows; ++r) {
    __m512i sum = _mm512_load_si512(sums.data[r]);
    for (int k = 0; k < weights.rows; ++k) {
      int32_t word;
      __builtin_memcpy(&word, &rows.data[r][4 * k], sizeof(word));
      sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi32(word), _mm512_load_si512(weights.data[k]));
    }
    _mm512_store_si512(sums.data[r], sum);
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
