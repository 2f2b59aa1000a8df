/// \file
/// Walks several tensors of one shape together, as rows of columns with as few outer steps as can
/// be.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace ipex_quant::runtime {

/// The common dimensions of some tensors, innermost first, merged where the strides of all allow
/// it.
struct StridedLoop {
  std::vector<int64_t> sizes;                 ///< at least two entries: columns, rows, outer ...
  std::vector<std::vector<int64_t>> strides;  ///< [tensor][dimension], in elements

  int64_t cols() const { return sizes[0]; }
  int64_t rows() const { return sizes[1]; }
  int64_t outer() const;

  /// Element offset of each tensor at step `index` of the outer dimensions.
  std::vector<int64_t> offsets(int64_t index) const;
};

/// Merges the dimensions of `tensors`, which have the shape of tensors[0], a dense tensor.
///
/// Along the columns tensors[0] has stride 1 and the others 0 or 1: one that has neither is
/// replaced by a copy with the strides of tensors[0].
StridedLoop make_strided_loop(std::vector<at::Tensor>& tensors);

}  // namespace ipex_quant::runtime
