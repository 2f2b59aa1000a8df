/// \file
/// Products of uint8 rows with packed int8 weights: linear layers, convolutions, LSTM projections.
///
/// dst[row][n] = epilogue(start[n] + sum over k of row[k] * weight[n][k]), exact in int32. A row is
/// `taps` pieces of memory found through pointers, so that a convolution needs no im2col.
#pragma once

#include <cstdint>

#include "kernels/aligned.h"
#include "kernels/epilogue_plan.h"
#include "kernels/gemm/layout.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace ipex_quant::kernels {

/// Bytes behind packed weights that may be read, whatever they are: a kernel may take 64 bytes of
/// a row where the row has fewer.
constexpr int64_t kGemmWeightTail = 64 / kGemmDepth * kGemmBlock * kGemmDepth;

/// Weights in the layout that every ISA reads: [group][block][taps * depth / 4][width][4], where
/// width is the columns of the block rounded up to 16. What is padded is zero.
struct GemmWeight {
  int64_t groups = 1;
  int64_t n = 0;      ///< columns per group
  int64_t taps = 1;   ///< pieces of a row
  int64_t depth = 0;  ///< bytes per piece, a multiple of 4
  AlignedVector<int8_t> data;
  AlignedVector<int32_t> sums;  ///< [groups][padded_n()]: sum over k of the weights

  int64_t padded_n() const { return (n + kGemmColumns - 1) / kGemmColumns * kGemmColumns; }
};

/// Where pack_gemm_weight() finds weight (group, column, tap, k): data[group * group_stride + ...].
struct GemmWeightView {
  const int8_t* data;
  int64_t groups, n, taps, depth;  ///< depth as it is, not rounded up
  int64_t group_stride, n_stride, tap_stride, depth_stride;
};

GemmWeight pack_gemm_weight(const GemmWeightView& view);

/// Finds rows of the left operand.
struct GemmRows {
  const void* context;
  /// Writes pointers[tap * stride + i] and dst_rows[i] for rows first <= row < first + count.
  /// Each pointer has `depth` readable bytes behind it (for the last group: + group offset).
  void (*find)(const void* context, int64_t first, int64_t count, int64_t stride,
               const uint8_t** pointers, int64_t* dst_rows);
  /// Row i is step bytes behind row i - 1; 0 where the rows have no common step.
  int64_t step = 0;
};

/// Context of plain_rows(): row i is data + i * stride, and goes to row i of dst.
struct PlainRows {
  const uint8_t* data;
  int64_t stride;  ///< bytes
};
/// Rows of a matrix whose row length is a multiple of 4. `rows` must outlive the result.
GemmRows plain_rows(const PlainRows& rows);

/// One product. Arrays per column are [groups][padded_n()].
struct GemmProblem {
  const GemmWeight* weight;
  int64_t m;  ///< rows, may be 0
  GemmRows rows;
  int64_t group_offset = 0;  ///< bytes from a row's piece for group g to that for group g + 1
  const int32_t* start;      ///< start value of the sums: -zero_point * weight->sums
  const float* scale;        ///< y = fma(sum, scale, bias)
  const float* bias;
  EpiloguePlan epilogue;
  void* dst;           ///< u8 or f32 by the epilogue; column of group g: g * n
  int64_t dst_stride;  ///< elements from row to row of dst
};

void gemm(const GemmProblem& problem, Features features, const Parallel& parallel);

}  // namespace ipex_quant::kernels
