/// \file
/// The class PackedBinary: what ipex_quant::binary needs beside its operands.
#pragma once

#include <torch/custom_class.h>

#include <string>
#include <tuple>

#include "kernels/eltwise/binary.h"
#include "kernels/epilogue.h"

namespace ipex_quant::runtime {

/// add, sub or mul of two uint8 operands with given scales and zero points, then an epilogue.
class PackedBinary : public torch::CustomClassHolder {
 public:
  /// Version, op, a_scale, a_zero_point, b_scale, b_zero_point, epilogue.
  using State = std::tuple<int64_t, std::string, double, int64_t, double, int64_t, std::string>;

  /// \throws c10::Error for an unknown op, a bad scale or zero point, or an ill-formed epilogue.
  PackedBinary(const std::string& op, double a_scale, int64_t a_zero_point, double b_scale,
               int64_t b_zero_point, const std::string& epilogue);

  /// \param others one tensor per tensor-reading step of the epilogue
  at::Tensor run(const at::Tensor& a, const at::Tensor& b, at::TensorList others) const;

  State state() const;

 private:
  kernels::BinaryOp op_;
  kernels::BinaryOperand a_;  ///< scale and zero point only
  kernels::BinaryOperand b_;
  kernels::Epilogue epilogue_;
};

}  // namespace ipex_quant::runtime
