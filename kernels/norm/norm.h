/// \file
/// Softmax, layer norm and root mean square norm of float32 rows, with uint8 results.
///
/// Sums of a row run in kRowLanes partial sums, element i in number i % kRowLanes, which are then
/// folded in halves: the same additions on every instruction set.
#pragma once

#include <cstdint>

#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace ipex_quant::kernels {

/// Partial sums of one row.
constexpr int kRowLanes = 32;

/// dst = quantize(softmax(src)) along each row.
///
/// e = exp(x - max), c = inv_scale / sum(e), q = clamp(round_half_even(e * c) + zero_point, 0,
/// 255). A row with a NaN or +inf in it, or of -inf only, gives 0.
struct SoftmaxArgs {
  const float* src;  ///< [rows][cols]
  uint8_t* dst;      ///< [rows][cols]
  int64_t rows;
  int64_t cols;
  int64_t src_stride;  ///< elements from row to row
  int64_t dst_stride;
  float inv_scale;     ///< 1 / scale, rounded to float once
  int32_t zero_point;  ///< 0..255
};

/// y = layer_norm(src) along each row, and its quantization.
///
/// mean = sum(x) / cols, variance = sum((x - mean)^2) / cols, r = 1 / sqrt(variance + eps),
/// y = fma((x - mean) * r, weight, bias); the bytes are quantize(y), or quantize(y * factor).
/// Without a bias it is the root mean square norm: mean = 0, y = (x * r) * weight.
struct LayerNormArgs {
  const float* src;     ///< [rows][cols]
  const float* weight;  ///< [cols]
  const float* bias;    ///< [cols], or null
  const float* factor;  ///< [cols], or null
  float* dst;           ///< [rows][cols], or null when only the bytes are wanted
  uint8_t* bytes;       ///< [rows][cols]
  int64_t rows;
  int64_t cols;
  float eps;
  float inv_scale;     ///< as above
  int32_t zero_point;  ///< 0..255
};

void softmax(const SoftmaxArgs& args, Features features, const Parallel& parallel);
void layer_norm(const LayerNormArgs& args, Features features, const Parallel& parallel);

}  // namespace ipex_quant::kernels
