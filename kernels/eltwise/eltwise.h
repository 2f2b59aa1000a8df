/// \file
/// Elementwise kernels between float32 and uint8: quantize, dequantize and 256-entry tables.
///
/// All of them work on plain ranges; the split over threads and the choice of the ISA are here.
#pragma once

#include <cstdint>

#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace ipex_quant::kernels {

/// dst[i] = clamp(round_half_even(src[i] * inv_scale) + zero_point, 0, 255); a NaN gives 0.
struct QuantizeArgs {
  const float* src;    ///< [n]
  uint8_t* dst;        ///< [n]
  int64_t n;           ///< elements
  float inv_scale;     ///< 1 / scale, rounded to float once
  int32_t zero_point;  ///< 0..255
};

/// The same, from planes to interleaved pixels: dst[p * channels + c] from src[c * plane + p].
struct QuantizePlanesArgs {
  const float* src;    ///< first pixel of the first channel
  int64_t plane;       ///< elements between two channels of src
  uint8_t* dst;        ///< [pixels][channels]
  int64_t channels;    ///< >= 1
  int64_t pixels;      ///< pixels to convert
  float inv_scale;     ///< as above
  int32_t zero_point;  ///< 0..255
};

/// dst[i] = (src[i] - zero_point) * scale.
struct DequantizeArgs {
  const uint8_t* src;  ///< [n]
  float* dst;          ///< [n]
  int64_t n;           ///< elements
  float scale;
  int32_t zero_point;  ///< 0..255
};

/// dst[i] = table[src[i]].
struct LutArgs {
  const uint8_t* src;    ///< [n]
  uint8_t* dst;          ///< [n], may be src
  int64_t n;             ///< elements
  const uint8_t* table;  ///< [256]
};

void quantize(const QuantizeArgs& args, Features features, const Parallel& parallel);

/// \param images number of images; image i starts at src + i * channels * plane and
///        dst + i * channels * pixels.
void quantize_planes(const QuantizePlanesArgs& args, int64_t images, Features features,
                     const Parallel& parallel);

void dequantize(const DequantizeArgs& args, Features features, const Parallel& parallel);

void lut(const LutArgs& args, Features features, const Parallel& parallel);

/// dst[r * dst_stride + i] = table[src[r * src_stride + i]] for `rows` rows of `cols` bytes.
struct CopyRowsArgs {
  const uint8_t* src;
  int64_t src_stride;  ///< bytes
  uint8_t* dst;
  int64_t dst_stride;  ///< bytes
  int64_t rows;
  int64_t cols;
  const uint8_t* table;  ///< [256], or null to copy
};

void copy_rows(const CopyRowsArgs& args, Features features, const Parallel& parallel);

/// Fills table[256] with quantize(dequantize(q)): the table of a requantize.
void requantize_table(float scale, int32_t zero_point, float out_inv_scale, int32_t out_zero_point,
                      Features features, uint8_t* table);

}  // namespace ipex_quant::kernels
