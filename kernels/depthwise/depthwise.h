/// \file
/// Depthwise convolutions: every output channel reads one input channel.
///
/// Four taps above each other are interleaved per channel, so that one multiply-add instruction
/// sums them; the interleaved column serves every output pixel that reads it.
#pragma once

#include <cstdint>

#include "kernels/aligned.h"
#include "kernels/epilogue_plan.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace ipex_quant::kernels {

/// Per-channel arrays are padded to a multiple of this.
constexpr int64_t kDepthwisePad = 64;

/// Weights as [row group][kernel column][padded channels][4]: four rows of the kernel side by side;
/// rows count through depth and height. What is padded is zero.
struct DepthwiseWeight {
  int64_t channels = 0;  ///< of the output
  int64_t rows = 0;      ///< kernel depth * kernel height
  int64_t columns = 0;   ///< kernel width
  AlignedVector<int8_t> data;
  AlignedVector<int32_t> sums;  ///< [padded channels]

  int64_t row_groups() const { return (rows + 3) / 4; }
  int64_t padded() const { return (channels + kDepthwisePad - 1) / kDepthwisePad * kDepthwisePad; }
};

/// \param weight  [channels][rows][columns]
DepthwiseWeight pack_depthwise_weight(const int8_t* weight, int64_t channels, int64_t rows,
                                      int64_t columns);

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
