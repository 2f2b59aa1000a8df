/// \file
/// Finds the pieces of an image that one output pixel of a convolution reads.
#pragma once

#include "kernels/conv/conv.h"

namespace ipex_quant::kernels {

/// An image as a phase reads it: pixel (b, z, y, x) is at src + (((b * size[0] + z) * size[1] + y)
/// * size[2] + x) * pixel_bytes, and (z, y, x) = j * stride + offset of a tap.
struct ConvRows {
  const uint8_t* src;
  int64_t pixel_bytes;
  int64_t size[kAxes];
  int64_t count[kAxes];  ///< output pixels of the phase per axis
  int64_t stride[kAxes];
  const int64_t* offset[kAxes];
  int64_t taps[kAxes];
  const uint8_t* border;  ///< what a pixel outside of the image reads as
  int64_t out_start[kAxes];
  int64_t out_step[kAxes];
  int64_t out_size[kAxes];
  int64_t first_batch;  ///< of dst
};

/// GemmRows::find with a ConvRows as context.
void find_conv_rows(const void* context, int64_t first, int64_t count, int64_t stride,
                    const uint8_t** pointers, int64_t* dst_rows);

}  // namespace ipex_quant::kernels
