/// \file
/// The innermost step of pooling: one output pixel from a list of input pixels; and its kernels.
#pragma once

#include <cstdint>

#include "kernels/isa.h"

namespace ipex_quant::kernels {

/// dst[c] = max over t of taps[t][c].
struct MaxPixelArgs {
  const uint8_t* const* taps;  ///< [count]
  int64_t count;               ///< may be 0: dst becomes 0
  int64_t channels;
  uint8_t* dst;  ///< [channels]
};

/// dst[c] = quantize((float)(sum over t of taps[t][c] - offset) * factor).
struct AveragePixelArgs {
  const uint8_t* const* taps;  ///< [count]; null: tap t is first + t * channels
  const uint8_t* first;        ///< used when taps is null
  int64_t count;               ///< may be 0
  int64_t channels;
  uint8_t* dst;        ///< [channels]
  int32_t offset;      ///< count * zero point of the input
  float factor;        ///< scale of the input / divisor
  float inv_scale;     ///< of the output
  int32_t zero_point;  ///< of the output, 0..255
};

#define IQ_POOL(op, function, needs) void function(const op##Args& args);
#include "kernels/pool/table.inc"
#undef IQ_POOL

}  // namespace ipex_quant::kernels
