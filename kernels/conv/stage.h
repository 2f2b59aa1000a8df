/// \file
/// Copies an image with its border, so that every tap reads inside of the copy.
#pragma once

#include "kernels/conv/conv.h"

namespace ipex_quant::kernels {

/// A copy of one image: input coordinate `first` + i along an axis is line i of the copy.
struct Stage {
  int64_t first[kAxes];
  int64_t size[kAxes];
  int64_t group_bytes;  ///< channels of a group, padded to a multiple of 4 unless merged
  int64_t pixel_bytes;  ///< groups * group_bytes

  /// With room for the last piece, which is read in steps of 4 bytes.
  int64_t bytes() const { return size[0] * size[1] * size[2] * pixel_bytes + 64; }
};

/// The copy that a phase with `count` outputs per axis needs.
Stage make_stage(const ConvWeight& weight, const ConvPhase& phase, const int64_t (&count)[kAxes]);

/// Copies image `src` of `in_size`; pixels outside of it become the zero point.
void fill_stage(const Stage& stage, const ConvGeometry& geometry, const uint8_t* src,
                const int64_t (&in_size)[kAxes], uint8_t zero_point, uint8_t* dst,
                const Parallel& parallel);

}  // namespace ipex_quant::kernels
