/// \file
/// The innermost step of pooling: output pixels of a row whose windows lie alike; and its kernels.
#pragma once

#include <cstdint>

#include "kernels/isa.h"

namespace ipex_quant::kernels {

/// Where the windows of `pixels` output pixels lie. Tap (r, k) of pixel p and channel c is
/// rows[r][p * step + k * column_step + c].
struct PixelTaps {
  const uint8_t* const* rows;
  int64_t row_count;    ///< may be 0, as may `columns`: an empty window
  int64_t columns;      ///< taps in a row
  int64_t column_step;  ///< bytes from one to the next
  int64_t channels;
  uint8_t* dst;  ///< [pixels][channels]
  int64_t pixels;
  int64_t step;  ///< bytes from the window of one pixel to that of the next
};

/// dst[p][c] = the largest tap; 0 for an empty window.
struct MaxPixelArgs {
  PixelTaps taps;
};

/// dst[p][c] = quantize((float)(sum of the taps - offset) * factor).
struct AveragePixelArgs {
  PixelTaps taps;
  int32_t offset;      ///< number of taps * zero point of the input
  float factor;        ///< scale of the input / divisor
  float inv_scale;     ///< of the output
  int32_t zero_point;  ///< of the output, 0..255
};

}  // namespace ipex_quant::kernels
