/// \file
/// Argument checks and memory layouts that several operators share.
#pragma once

#include <ATen/core/Tensor.h>

namespace ipex_quant::runtime {

/// \throws c10::Error unless `tensor` is a strided CPU tensor of `type`.
void check_tensor(const at::Tensor& tensor, at::ScalarType type, const char* op, const char* name);

/// \throws c10::Error unless scale is finite and positive, with a finite inverse in float32, and
///         zero_point is in 0..255.
void check_qparams(double scale, int64_t zero_point, const char* op);

/// 1 / scale, in float32.
float inverse_scale(double scale);

/// `tensor` with exactly the strides of `like`, a tensor of the same shape; copies when they
/// differ.
at::Tensor with_strides_of(const at::Tensor& tensor, const at::Tensor& like);

/// Strides of a dense [N, C, ...] tensor of 3 to 5 dimensions whose channels lie innermost.
std::vector<int64_t> channels_last_strides(at::IntArrayRef sizes);

/// True when `tensor` is dense with channels innermost; strides of dimensions of size 1 are
/// ignored.
bool is_channels_last(const at::Tensor& tensor);

/// Elements from pixel to pixel of a [N, C, ...] tensor of 3 to 5 dimensions whose channels lie
/// innermost and whose pixels have equal distances, as in a slice of the channels of a dense one;
/// 0 for any other tensor. Strides of dimensions of size 1 are ignored.
int64_t pixel_stride(const at::Tensor& tensor);

/// `tensor` ([N, C, ...], 3 to 5 dimensions) itself or a copy with channels innermost.
at::Tensor to_channels_last(const at::Tensor& tensor);

/// A new tensor with channels innermost.
at::Tensor empty_channels_last(at::IntArrayRef sizes, at::ScalarType type);

}  // namespace ipex_quant::runtime
