/// \file
/// The class PackedMatmul: what ipex_quant::matmul needs beside its operands.
#pragma once

#include <torch/custom_class.h>

#include <string>
#include <tuple>

#include "kernels/epilogue.h"

namespace ipex_quant::runtime {

/// Product of two uint8 tensors with given scales and zero points, then an epilogue.
class PackedMatmul : public torch::CustomClassHolder {
 public:
  /// Version, a_scale, a_zero_point, b_scale, b_zero_point, epilogue.
  using State = std::tuple<int64_t, double, int64_t, double, int64_t, std::string>;

  /// \throws c10::Error for a bad scale or zero point, or an ill-formed epilogue.
  PackedMatmul(double a_scale, int64_t a_zero_point, double b_scale, int64_t b_zero_point,
               const std::string& epilogue);

  /// Shapes and broadcasting of aten::matmul, any strides.
  /// \param others one tensor per tensor-reading step of the epilogue
  at::Tensor run(const at::Tensor& a, const at::Tensor& b, at::TensorList others) const;

  State state() const;

 private:
  double a_scale_;
  double b_scale_;
  int32_t a_zero_point_;
  int32_t b_zero_point_;
  kernels::Epilogue epilogue_;
};

}  // namespace ipex_quant::runtime
