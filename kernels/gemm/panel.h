/// \file
/// Rows brought into panels, for kernels whose instructions take a block of rows at once.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/aligned.h"
#include "kernels/gemm/tile.h"

namespace ipex_quant::kernels {

constexpr int64_t kPanelRows = 16;
constexpr int64_t kPanelChunk = 64;

/// Rows that a kernel with kr == kPanelChunk is to read; fields as in GemmTile.
struct PanelRows {
  int64_t count;
  const uint8_t* const* rows;
  int64_t row_stride;
  int64_t row_offset;
  int64_t taps;
  int64_t depth;  ///< bytes per tap
  int64_t step;   ///< bytes from row to row, 0 where they have no common step
};

/// The panels of some rows. They lie where the rows are when whole chunks may be read there, else
/// in a copy, which also puts the taps of a row one behind the other. The memory only grows.
class Panels {
 public:
  /// The result holds until the next call, and while the rows do.
  const GemmPanel* find(const PanelRows& rows);

 private:
  std::vector<GemmPanel> panels_;
  AlignedVector<uint8_t> packed_;
};

#ifdef IPEX_QUANT_X86
/// Copies rows, the taps one behind the other, and fills the last 64 bytes of each with zeros, so
/// that it does not matter which weights they meet.
void pack_rows_avx512amx(const PanelRows& rows, uint8_t* out, int64_t out_stride);
#endif

}  // namespace ipex_quant::kernels
