/// \file
/// Pooling of uint8 images whose channels lie innermost, in one to three dimensions.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace ipex_quant::kernels {

constexpr int kPoolAxes = 3;

/// Input positions that one output position of an axis covers: begin, begin + step, ... < end.
struct PoolWindow {
  int64_t begin;  ///< first position inside the image
  int64_t end;    ///< past the last
  int64_t step;   ///< dilation
  int64_t count;  ///< what the axis contributes to the divisor of an average
};

/// One pooling: windows[axis][output position]; unused axes stand first, with one window of size 1.
struct PoolArgs {
  const uint8_t* src;  ///< [images][in0][in1][in2][channels], dense
  uint8_t* dst;        ///< [images][out0][out1][out2][channels], dense
  int64_t images;
  int64_t channels;
  int64_t in[kPoolAxes];
  std::vector<PoolWindow> windows[kPoolAxes];
};

/// How an average becomes uint8: y = (float)(sum of (q - zero_point)) * (scale / divisor).
struct AverageArgs {
  float scale;
  int32_t zero_point;  ///< 0..255
  float out_inv_scale;
  int32_t out_zero_point;  ///< 0..255
  int64_t divisor;         ///< 0: the product of the windows' counts
};

/// Largest byte of each window and channel; 0 for an empty window.
void max_pool(const PoolArgs& args, Features features, const Parallel& parallel);

/// Quantized average of each window and channel. A window has at most kMaxAverageTaps positions.
void avg_pool(const PoolArgs& args, const AverageArgs& average, Features features,
              const Parallel& parallel);

/// Quantized average of each row: dst[r] from src[r * cols .. (r + 1) * cols), cols <=
/// kMaxAverageTaps.
void average_rows(const uint8_t* src, int64_t rows, int64_t cols, const AverageArgs& average,
                  uint8_t* dst, Features features, const Parallel& parallel);

constexpr int64_t kMaxAverageTaps = int64_t{1}
                                    << 22;  // the sum of (q - zero_point) fits into int32

}  // namespace ipex_quant::kernels
