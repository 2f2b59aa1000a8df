/// \file
/// The innermost step of pooling: output pixels from a list of input pixels; and its kernels.
#pragma once

#include <cstdint>

#include "kernels/isa.h"

namespace ipex_quant::kernels {

/// dst[p][c] = max over t of taps[t][p * step + c].
struct MaxPixelArgs {
  const uint8_t* const* taps;  ///< [count]
  int64_t count;               ///< may be 0: dst becomes 0
  int64_t channels;
  uint8_t* dst;    ///< [pixels][channels]
  int64_t pixels;  ///< output pixels whose taps lie alike
  int64_t step;    ///< bytes from the taps of one to those of the next
};

/// dst[p][c] = quantize((float)(sum over t of taps[t][p * step + c] - offset) * factor).
struct AveragePixelArgs {
  const uint8_t* const* taps;  ///< [count]; null: tap t is first + t * channels
  const uint8_t* first;        ///< used when taps is null
  int64_t count;               ///< may be 0
  int64_t channels;
  uint8_t* dst;    ///< [pixels][channels]
  int64_t pixels;  ///< as above
  int64_t step;
  int32_t offset;      ///< count * zero point of the input
  float factor;        ///< scale of the input / divisor
  float inv_scale;     ///< of the output
  int32_t zero_point;  ///< of the output, 0..255
};

}  // namespace ipex_quant::kernels
