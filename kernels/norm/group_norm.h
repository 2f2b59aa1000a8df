/// \file
/// Group norm of float32 images whose channels lie innermost, with an epilogue.
#pragma once

#include <cstdint>

#include "kernels/epilogue_plan.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace ipex_quant::kernels {

/// Pixels whose values are summed in float32, one after the other; these sums are added in double,
/// in their order. So the number of threads changes nothing.
constexpr int64_t kPixelsPerSum = 128;

/// dst = epilogue(group_norm(src)). Over the pixels and channels of a group in one item:
/// mean = sum(x) / n, variance = sum((x - mean)^2) / n, r = 1 / sqrt(variance + eps),
/// y = fma((x - mean) * r, weight, bias).
struct GroupNormArgs {
  const float* src;     ///< [items][pixels][channels]
  const float* weight;  ///< [channels]
  const float* bias;    ///< [channels]
  int64_t items;
  int64_t pixels;
  int64_t channels;
  int64_t groups;  ///< divides channels
  float eps;
  EpiloguePlan epilogue;  ///< reads no tensors
  void* dst;              ///< like src: uint8 or float, by the epilogue
};

void group_norm(const GroupNormArgs& args, Features features, const Parallel& parallel);

/// A micro-kernel: sums of the columns, of x or of (x - mean)^2.
struct ColumnSumsArgs {
  const float* src;   ///< [rows][channels]
  const float* mean;  ///< [channels], or null
  float* sums;        ///< [channels]
  int64_t rows;
  int64_t channels;
};

/// A micro-kernel: the last step of group_norm for some pixels of one item.
struct ChannelNormArgs {
  const float* src;     ///< [rows][channels]
  const float* mean;    ///< [channels], as the others
  const float* factor;  ///< r
  const float* weight;
  const float* bias;
  int64_t rows;
  int64_t channels;
  const EpiloguePlan* epilogue;
  void* dst;  ///< [rows][channels]
};

}  // namespace ipex_quant::kernels
