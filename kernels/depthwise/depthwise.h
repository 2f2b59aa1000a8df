/// \file
/// Depthwise convolutions: every output channel reads one input channel.
///
/// Four taps above each other are interleaved per channel, so that one multiply-add instruction
/// sums them. Output rows whose taps lie in the same lines share the interleaved lines: a kernel of
/// three rows would leave one of four lines unused, but with the weights moved down by one line it
/// gives the next output row.
#pragma once

#include <cstdint>

#include "kernels/aligned.h"
#include "kernels/epilogue_plan.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace ipex_quant::kernels {

/// Channels whose weights lie together; per-channel arrays are padded to a multiple of this.
constexpr int64_t kDepthwiseUnit = 16;

/// Weights as [unit][row of share][row group][kernel column][kDepthwiseUnit][4]: four lines side by
/// side; the weights of row r of the share begin r * row_stride lines further down. What is padded
/// is zero.
struct DepthwiseWeight {
  int64_t channels = 0;  ///< of the output
  int64_t rows = 0;      ///< kernel depth * kernel height: rows count through depth and height
  int64_t columns = 0;   ///< kernel width
  int64_t row_stride = 0;
  int64_t share = 1;  ///< output rows that read the same row_groups() * 4 lines
  AlignedVector<int8_t> data;
  AlignedVector<int32_t> sums;  ///< [padded channels]

  int64_t row_groups() const { return (rows + 3) / 4; }
  int64_t padded() const {
    return (channels + kDepthwiseUnit - 1) / kDepthwiseUnit * kDepthwiseUnit;
  }
};

/// \param weight      [channels][rows][columns]
/// \param row_stride  lines between two output rows; 0 when their taps are not adjacent lines of
///                    one image, so that no lines are shared
DepthwiseWeight pack_depthwise_weight(const int8_t* weight, int64_t channels, int64_t rows,
                                      int64_t columns, int64_t row_stride);

/// One call. Sizes are {depth, height, width}; images have channels innermost.
struct DepthwiseCall {
  const DepthwiseWeight* weight;
  int64_t kernel_height;  ///< rows of the weight = kernel depth * kernel_height
  int64_t batch;
  int64_t in_size[3];
  int64_t out_size[3];
  int64_t stride[3];
  int64_t dilation[3];
  int64_t pad[3];           ///< at the begin of each axis
  const uint8_t* src;       ///< weight->channels per pixel
  const uint8_t* zero_row;  ///< a pixel of zero points
  const int32_t* start;     ///< [padded channels]: -zero_point * sums
  const float* scale;       ///< [padded channels]
  const float* bias;        ///< [padded channels]
  EpiloguePlan epilogue;
  void* dst;  ///< u8 or f32 by the epilogue
};

void depthwise(const DepthwiseCall& call, Features features, const Parallel& parallel);

}  // namespace ipex_quant::kernels
