/// \file
/// The micro-kernel interface of the depthwise convolution, and the table of its kernels.
#pragma once

#include <cstdint>

#include "kernels/depthwise/depthwise.h"
#include "kernels/epilogue_plan.h"
#include "kernels/isa.h"

namespace ipex_quant::kernels {

/// Channels that are computed together, a multiple of kDepthwiseUnit.
constexpr int64_t kDepthwiseChunk = 64;

/// Some output rows that read the same lines, of one chunk of channels.
struct DepthwiseBlock {
  int64_t rows;  ///< 1..share
  /// [4 * row_groups] input lines, at the chunk's first channel of column 0. Lines that no row
  /// reads may point anywhere readable.
  const uint8_t* const* lines;
  const int64_t* line_step;  ///< like lines: bytes from pixel to pixel, 0 when all are the same
  int64_t share;
  int64_t row_groups;
  int64_t columns;  ///< kernel width
  int64_t width;    ///< pixels of a line
  int64_t out_width;
  int64_t stride, dilation, pad;  ///< along the width
  uint8_t zero_point;             ///< value of pixels beside a line
  int64_t channels;               ///< of this chunk, 1..kDepthwiseChunk
  const int8_t* weight;           ///< DepthwiseWeight::data of the chunk's first unit
  const int32_t* start;           ///< whole units, as scale and bias
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
};

const DepthwiseEntry& select_depthwise(Features features);

/// Output pixels that a kernel computes at once at most.
constexpr int64_t kDepthwisePixels = 4;

/// How a row is cut so that what is kept of it stays in L1.
struct DepthwiseSegment {
  int64_t pixels;   ///< output pixels at a time
  int64_t columns;  ///< interleaved columns that they read, whole tiles
};

/// \param span  columns from the first to the last that an output pixel reads
inline DepthwiseSegment depthwise_segment(int64_t row_groups, int64_t span, int64_t stride,
                                          int64_t out_width) {
  const int64_t fit = 24 * 1024 / (kDepthwiseChunk * 4 * row_groups);
  int64_t pixels = fit > span ? (fit - span) / stride + 1 : 1;
  pixels = (pixels + kDepthwisePixels - 1) / kDepthwisePixels * kDepthwisePixels;
  const int64_t whole = (out_width + kDepthwisePixels - 1) / kDepthwisePixels * kDepthwisePixels;
  if (pixels > whole) pixels = whole;
  return {pixels, (pixels - 1) * stride + span};
}

/// Bytes of the interleaved columns, and of the results when the epilogue runs after the products.
inline int64_t depthwise_workspace(int64_t row_groups, const DepthwiseSegment& segment) {
  return kDepthwiseChunk * 4 * (row_groups * segment.columns + segment.pixels);
}

#define IQ_DEPTHWISE(name, needs) void name(const DepthwiseBlock& block);
#include "kernels/depthwise/table.inc"
#undef IQ_DEPTHWISE

}  // namespace ipex_quant::kernels
