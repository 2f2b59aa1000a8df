/// \file
/// Batches of matrices as the kernels take them: a pointer per matrix.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/epilogue.h"

namespace ipex_quant::runtime {

/// Element offset of each matrix of a [batch..., rows, columns] tensor, in row-major order.
std::vector<int64_t> batch_offsets(const at::Tensor& tensor);

/// First element of each matrix of a uint8 tensor.
std::vector<const uint8_t*> batch_pointers(const at::Tensor& tensor);

/// `tensor` ([..., rows, columns]) expanded to `batch`, its two matrix dimensions unchanged.
at::Tensor expand_batch(const at::Tensor& tensor, at::IntArrayRef batch);

/// Broadcast leading sizes of two [..., rows, columns] tensors.
std::vector<int64_t> broadcast_batch(const at::Tensor& a, const at::Tensor& b);

/// `tensor` expanded to `batch`, with adjacent elements in a row; copied when they are not.
at::Tensor left_operand(const at::Tensor& tensor, at::IntArrayRef batch);
/// `tensor` expanded to `batch`, with adjacent elements in a row or in a column; else copied.
at::Tensor right_operand(const at::Tensor& tensor, at::IntArrayRef batch);

/// The stride of `dim` for the kernel, which never steps along a dimension of size 1.
int64_t stride_of(const at::Tensor& tensor, int64_t dim);

/// Descriptors of an epilogue's tensors, [batches][tensors], and what keeps their memory alive.
struct BatchedTensors {
  std::vector<kernels::PostOpTensor> descriptors;
  std::vector<at::Tensor> owners;

  /// \param tensors each [batch..., m, n]
  BatchedTensors(const std::vector<at::Tensor>& tensors, int64_t batches);
};

}  // namespace ipex_quant::runtime
