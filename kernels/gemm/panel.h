/// \file
/// Rows brought into panels, for kernels whose instructions take a block of rows at once.
///
/// A panel is 16 rows in pieces of 64 bytes, the taps of a row one behind the other. What is behind
/// a row's last byte is zero, so that it does not matter which weights it meets.
#pragma once

#include <cstdint>

#include "kernels/gemm/tile.h"

namespace ipex_quant::kernels {

constexpr int64_t kPanelRows = 16;
constexpr int64_t kPanelChunk = 64;

/// Bytes that packing one panel of rows with `bytes` bytes takes.
inline int64_t panel_bytes(int64_t bytes) {
  return (bytes + kPanelChunk - 1) / kPanelChunk * kPanelChunk * kPanelRows;
}

/// Rows to pack: fields as in GemmTile.
struct PanelRows {
  int64_t count;
  const uint8_t* const* rows;
  int64_t row_stride;
  int64_t row_offset;
  int64_t taps;
  int64_t depth;  ///< bytes per tap
  uint8_t* out;   ///< [panel][chunk][16][64]
};

#ifdef IPEX_QUANT_X86
void pack_panels_avx512amx(const PanelRows& rows);
#endif

}  // namespace ipex_quant::kernels
