/// \file
/// What matmul does around the micro-kernel, one function per ISA: pack B, sum rows, finish
/// results.
#pragma once

#include <cstdint>

#include "kernels/epilogue_plan.h"
#include "kernels/isa.h"

namespace ipex_quant::kernels {

/// Packs 16 columns of B: dst[k / 4][column][k % 4] = b(k, column) - 128, zero beyond rows and
/// columns.
struct PackColumnsArgs {
  const uint8_t* src;  ///< b(0, first column)
  int64_t k_stride;    ///< bytes; this or n_stride is 1
  int64_t n_stride;
  int64_t k;
  int64_t columns;  ///< 1..16
  int8_t* dst;
  int64_t dst_stride;  ///< bytes from one group of 4 rows to the next
  int32_t* sums;       ///< [16] sum over k of what was packed
};

/// sums[r] = sum of the k bytes of row r.
struct RowSumsArgs {
  const uint8_t* const* rows;  ///< [count]
  int64_t count;
  int64_t k;
  int32_t* sums;  ///< [count]
};

/// Finishes int32 sums: y = fma((float)(acc - row_terms[r]), scale, 0), then the epilogue.
struct FinishArgs {
  const int32_t* acc;
  int64_t acc_stride;        ///< elements
  const int32_t* row_terms;  ///< [rows]
  int64_t rows;
  int64_t columns;  ///< at most 256
  float scale;
  const EpiloguePlan* epilogue;
  void* dst;           ///< uint8 or float by the epilogue
  int64_t dst_stride;  ///< elements
  int64_t first_row;   ///< position for the epilogue's tensors
  int64_t first_column;
};

#define IQ_MATMUL(op, function, needs) void function(const op##Args& args);
#include "kernels/matmul/table.inc"
#undef IQ_MATMUL

}  // namespace ipex_quant::kernels
