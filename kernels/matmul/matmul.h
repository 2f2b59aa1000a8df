/// \file
/// Products of two uint8 matrices that are both known only at run time: attention.
///
/// dst = epilogue(scale * sum over k of (a - a_zero_point) * (b - b_zero_point)), exact in int32. B
/// is packed per batch into the layout of the u8 x s8 product, whose micro-kernels do the work.
#pragma once

#include <cstdint>

#include "kernels/epilogue_plan.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace ipex_quant::kernels {

/// Largest k whose sums cannot leave int32.
constexpr int64_t kMaxMatmulDepth = 33025;

/// dst[batch] (m x n) from a[batch] (m x k) and b[batch] (k x n).
struct MatmulArgs {
  int64_t batches, m, n, k;
  const uint8_t* const* a;  ///< [batches] first elements; elements of a row are adjacent
  int64_t a_row_stride;     ///< bytes
  const uint8_t* const* b;  ///< [batches]
  int64_t b_k_stride;       ///< bytes; this or b_n_stride is 1
  int64_t b_n_stride;
  int32_t a_zero_point;  ///< 0..255
  int32_t b_zero_point;
  float scale;  ///< scale of a times scale of b
  Epilogue epilogue;
  const PostOpTensor* tensors;  ///< [batches][tensors_per_batch], may be null when there are none
  int64_t tensors_per_batch;
  void* dst;  ///< [batches][m][n], uint8 or float by the epilogue
};

void matmul(const MatmulArgs& args, Features features, const Parallel& parallel);

}  // namespace ipex_quant::kernels
