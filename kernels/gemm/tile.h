/// \file
/// The micro-kernel interface of the u8 x s8 product, and the table of the kernels that implement
/// it.
#pragma once

#include <cstdint>

#include "kernels/epilogue_plan.h"
#include "kernels/isa.h"

namespace ipex_quant::kernels {

/// Sixteen rows as an instruction that takes them together reads them: byte k of row r is at
/// data + r * row_stride + k. 64 bytes may be read at a time; behind the end of a row they are
/// zero.
struct GemmPanel {
  const uint8_t* data;
  int64_t row_stride;
};

/// Rows below which reading the weights is all that counts, and asking for more only gets in its
/// way.
constexpr int64_t kRowsToAsk = 4;

/// The weights that are read after those of a tile, which its kernel asks for, some with each step:
/// a core multiplies 16 rows faster than it gets weights from L3.
struct NextWeights {
  const int8_t* data = nullptr;
  int64_t bytes = 0;
  int64_t step = 0;  ///< bytes to ask for per row and step over 4 bytes of it
  int64_t rows = 0;  ///< the first rows, which do; the others have nothing left to ask for

  NextWeights() = default;
  /// \param count, steps  rows of the tile and steps over each
  NextWeights(const int8_t* next, int64_t size, int64_t count, int64_t steps)
      : data(next), bytes(size) {
    if (count < kRowsToAsk || steps == 0 || size == 0) return;
    step = (size + count * steps - 1) / (count * steps);
    rows = (size + step * steps - 1) / (step * steps);
  }
};

/// Some rows times one block of columns, or one row times some blocks.
struct GemmTile {
  int64_t count;               ///< rows, at least 1
  const uint8_t* const* rows;  ///< pointer of (tap, row): rows[tap * row_stride + row]
  int64_t row_stride;          ///< entries
  int64_t row_offset;          ///< bytes added to every pointer (the group)
  bool ask_for_rows = false;   ///< they are not in L2 yet; only with one tap
  const GemmPanel* panels;     ///< [count / 16, rounded up] for kernels with kr 64; others: unused
  int64_t taps;                ///< may be 0: the sums are `start`
  int64_t steps;               ///< groups of 4 bytes per tap
  const int8_t* weight;        ///< [taps * steps][width][4]
  NextWeights next;            ///< none is right, too
  int64_t width;               ///< 16, 32, 48 or 64
  int64_t blocks = 1;          ///< whole blocks one behind the other; see GemmEntry::row_blocks
  int64_t columns;             ///< columns of a block that are stored, <= width
  const int32_t* start;        ///< [width]
  const int32_t* row_start;    ///< [count] added to the sums of a row, may be null
  const float* scale;          ///< [width]
  const float* bias;           ///< [width]
  const EpiloguePlan* epilogue;
  const int64_t* dst_rows;  ///< [count]
  void* dst;                ///< u8, f32 or s32 by the epilogue
  int64_t dst_stride;       ///< elements
  int64_t col;              ///< column of dst where the tile starts
};

/// Most blocks that a kernel takes at once: their sums are 8 KiB.
constexpr int kRowBlocks = 32;

using GemmKernel = void (*)(const GemmTile& tile);

/// A row of kernels/gemm/table.inc.
struct GemmEntry {
  const char* name;
  GemmKernel run;
  Features needs;
  int mr, nr, kr;  ///< of its widest tile: rows, columns, bytes of a row per instruction
  int row_blocks;  ///< blocks of 64 columns that it takes at once for one row
};

/// Rows below which AMX is slower than VNNI.
constexpr int64_t kFewRows = 8;

/// First entry that `features` cover and that is worth it for products of `rows` rows.
const GemmEntry& select_gemm(Features features, int64_t rows);

#define IQ_GEMM(name, needs, mr, nr, kr, row_blocks) void name(const GemmTile& tile);
#include "kernels/gemm/table.inc"
#undef IQ_GEMM

}  // namespace ipex_quant::kernels
