/// \file
/// Makes the tensors that an epilogue reads readable for the kernels.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/epilogue.h"

namespace ipex_quant::runtime {

/// Descriptors for plan_epilogue(), and the tensors that keep their memory alive.
struct PostOpTensors {
  std::vector<kernels::PostOpTensor> descriptors;
  std::vector<at::Tensor> owners;
};

/// \param others       one tensor per tensor-reading step; broadcast to the output's shape
/// \param shape        of the output
/// \param column_axis  the output dimension whose elements are the columns; the other dimensions,
/// in
///                     order, count the rows
/// \throws c10::Error on a wrong number of tensors, a wrong dtype or a shape that does not
/// broadcast.
PostOpTensors bind_post_op_tensors(const kernels::Epilogue& epilogue, at::TensorList others,
                                   at::IntArrayRef shape, int64_t column_axis, const char* op);

}  // namespace ipex_quant::runtime
