/// \file
/// Convolutions and transposed convolutions of uint8 images with packed int8 weights.
///
/// Everything is 3-D: a 2-D image has depth 1, a signal has depth and height 1. Images are dense
/// with channels innermost: [batch][depth][height][width][channels].
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/depthwise/depthwise.h"
#include "kernels/gemm/gemm.h"

namespace ipex_quant::kernels {

constexpr int kAxes = 3;  ///< depth, height, width

/// What does not depend on the image.
struct ConvGeometry {
  int64_t groups = 1;
  int64_t in_channels = 0;   ///< of all groups
  int64_t out_channels = 0;  ///< of all groups
  int64_t kernel[kAxes] = {1, 1, 1};
  int64_t stride[kAxes] = {1, 1, 1};
  int64_t dilation[kAxes] = {1, 1, 1};
  int64_t pad_begin[kAxes] = {0, 0, 0};
  int64_t pad_end[kAxes] = {0, 0, 0};
  int64_t output_padding[kAxes] = {0, 0, 0};  ///< transposed only
  bool transposed = false;

  int64_t in_per_group() const { return in_channels / groups; }
  int64_t out_per_group() const { return out_channels / groups; }
  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
};

/// The kernel extends along the width only, and the depth is like a batch. A depthwise kernel then
/// takes the width for the height, so that four of its taps lie above each other.
bool is_signal(const ConvGeometry& geometry);

/// Output size along an axis; may be <= 0 when the kernel is larger than the padded image.
int64_t conv_output_size(const ConvGeometry& geometry, int axis, int64_t size);

/// How the image is read.
enum class ConvMode : uint8_t {
  kDirect,     ///< rows point into the image; depth of a tap = channels of a group, a multiple of 4
  kPadded,     ///< image copied with its border, channels of each group padded to a multiple of 4
  kMerged,     ///< image copied with its border; a kernel row is one tap of contiguous bytes
  kDepthwise,  ///< own kernel
};

/// One plain convolution along each axis: output out_start + j * out_step reads input
/// j * stride + offset[tap]. A transposed convolution has one phase per output position modulo
/// stride.
struct ConvPhase {
  int64_t out_start[kAxes];
  int64_t out_step[kAxes];
  int64_t stride[kAxes];
  std::vector<int64_t> offset[kAxes];
  GemmWeight weight;
  int64_t together = 1;  ///< pixels of the width that are columns of one row (wide.h)
};

/// Packed weights, the same for every ISA and zero point.
struct ConvWeight {
  ConvGeometry geometry;  ///< small groups may have been merged, with zero weights between them
  ConvMode mode;
  std::vector<ConvPhase> phases;  ///< empty for kDepthwise; wide ones come last
  DepthwiseWeight depthwise;
};

/// \param weight  [out][in / groups][kernel...], transposed: [in][out / groups][kernel...]
ConvWeight pack_conv_weight(const ConvGeometry& geometry, const int8_t* weight);

/// What belongs to one convolution beside its weights. Arrays per channel: [groups][padded_n],
/// depthwise: [padded channels].
struct ConvChannels {
  std::vector<AlignedVector<int32_t>> start;  ///< per phase: -zero_point * sums
  AlignedVector<float> scale;
  AlignedVector<float> bias;
  AlignedVector<uint8_t>
      zero_row;  ///< one pixel of zero points: the border, before and after staging
  int32_t zero_point;
};

/// \param scale, bias  [out_channels]; bias may be null
ConvChannels make_conv_channels(const ConvWeight& weight, int32_t zero_point, const float* scale,
                                const float* bias);

/// One call.
struct ConvCall {
  const ConvWeight* weight;
  const ConvChannels* channels;
  int64_t batch;
  int64_t in_size[kAxes];
  int64_t out_size[kAxes];  ///< by conv_output_size, all positive
  const uint8_t* src;
  int64_t pixel_bytes;    ///< from pixel to pixel of src: in_channels, with kDirect at least
  void* dst;              ///< u8 or f32 by the epilogue
  EpiloguePlan epilogue;  ///< a row is a pixel of dst, a column is a channel
  uint8_t* scratch;       ///< conv_scratch_bytes(); may be null when that is 0
};

/// Bytes of scratch memory that a call needs; batch, in_size and out_size must be set.
int64_t conv_scratch_bytes(const ConvCall& call);

void conv(const ConvCall& call, Features features, const Parallel& parallel);

}  // namespace ipex_quant::kernels
