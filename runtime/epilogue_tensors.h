/// \file
/// Checks the tensors that the steps of an epilogue read.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/epilogue.h"

namespace ipex_quant::runtime {

/// Appends `others`, expanded to the output's shape, to `tensors`.
///
/// \throws c10::Error when their number, a dtype (uint8 for add_u8 and mul_u8, float32 for add_f32
///         and mul_f32) or a shape does not fit.
void add_epilogue_tensors(const kernels::Epilogue& epilogue, at::TensorList others,
                          at::IntArrayRef sizes, const char* op, std::vector<at::Tensor>& tensors);

}  // namespace ipex_quant::runtime
