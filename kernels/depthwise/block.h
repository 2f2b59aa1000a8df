/// \file
/// The micro-kernel interface of the depthwise convolution, and the table of its kernels.
#pragma once

#include <cstdint>

#include "kernels/epilogue_plan.h"
#include "kernels/isa.h"

namespace ipex_quant::kernels {

/// Some output rows of one chunk of channels.
struct DepthwiseBlock {
  int64_t out_rows;
  /// Input line of (output row, kernel row): lines[out_row * 4 * row_groups + row], at the chunk's
  /// first channel of column 0. Rows that only fill up a group may point anywhere readable.
  const uint8_t* const* lines;
  const int64_t* line_step;  ///< like lines: bytes from pixel to pixel, 0 when all are the same
  int64_t row_groups;
  int64_t columns;  ///< kernel width
  int64_t width;    ///< pixels of a line
  int64_t out_width;
  int64_t stride, dilation, pad;  ///< along the width
  uint8_t zero_point;             ///< value of pixels beside a line
  int64_t channels;               ///< of this chunk, 1..chunk size
  /// [row group][column][...][4], at the chunk's first channel; a whole chunk is readable.
  const int8_t* weight;
  int64_t weight_step;  ///< bytes from column to column
  const int32_t* start;
  const float* scale;
  const float* bias;
  const EpiloguePlan* epilogue;
  void* dst;
  int64_t dst_stride;  ///< elements from pixel to pixel
  int64_t dst_row;     ///< pixel of dst of the first output pixel; the others follow
  int64_t col;         ///< first channel of the chunk
  uint8_t* workspace;  ///< depthwise_workspace() bytes, 64-byte aligned
};

using DepthwiseKernel = void (*)(const DepthwiseBlock& block);

/// A row of kernels/depthwise/table.inc.
struct DepthwiseEntry {
  const char* name;
  DepthwiseKernel run;
  Features needs;
  int64_t chunk;  ///< channels that are computed together
};

const DepthwiseEntry& select_depthwise(Features features);

/// Interleaved columns that are kept: they stay in L1, and one output pixel always fits.
inline int64_t depthwise_columns(int64_t chunk, int64_t row_groups, int64_t span) {
  const int64_t fit = 24 * 1024 / (chunk * 4 * row_groups);
  return fit > span ? fit : span;
}

/// \param span  columns from the first to the last that an output pixel reads
inline int64_t depthwise_workspace(int64_t chunk, int64_t row_groups, int64_t columns,
                                   int64_t span) {
  const int64_t vectors = row_groups * (columns + depthwise_columns(chunk, row_groups, span)) + 3;
  return vectors * chunk * 4;
}

#define IQ_DEPTHWISE(name, needs, chunk) void name(const DepthwiseBlock& block);
#include "kernels/depthwise/table.inc"
#undef IQ_DEPTHWISE

}  // namespace ipex_quant::kernels
