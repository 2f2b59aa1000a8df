/// \file
/// New tensors for operators: outputs and scratch, from memory that is used again.
#pragma once

#include <ATen/core/Tensor.h>

namespace ipex_quant::runtime {

/// An uninitialized contiguous CPU tensor.
/// \throws c10::Error when there is no memory for it.
at::Tensor empty(at::IntArrayRef sizes, at::ScalarType type);

/// An uninitialized CPU tensor with these strides, in elements.
/// \throws c10::Error when there is no memory for it.
at::Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides, at::ScalarType type);

/// An uninitialized CPU tensor laid out like `like` as at::empty_like has it: the same strides when
/// `like` is dense without overlap, else contiguous.
at::Tensor empty_like(const at::Tensor& like, at::ScalarType type);

}  // namespace ipex_quant::runtime
