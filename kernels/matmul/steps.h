/// \file
/// What matmul does before the micro-kernel, one function per ISA: pack B, sum rows.
#pragma once

#include <cstdint>

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

}  // namespace ipex_quant::kernels
