/// \file
/// The packed weight of a linear layer, with all that its call needs beside the input.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <optional>
#include <string>
#include <tuple>

#include "kernels/epilogue.h"
#include "kernels/gemm/gemm.h"
#include "runtime/weight_pool.h"

namespace ipex_quant::runtime {

/// y = epilogue((x - x_zero_point) * x_scale @ (weight * weight_scale)^T + bias), int8 inside.
class PackedLinear : public torch::CustomClassHolder {
 public:
  /// version, weight, weight_scale, bias, x_scale, x_zero_point, epilogue: what is saved.
  using State = std::tuple<int64_t, at::Tensor, at::Tensor, std::optional<at::Tensor>, double,
                           int64_t, std::string>;

  /// \param weight        int8 [out, in]
  /// \param weight_scale  float32, 1 or `out` elements, finite and positive
  /// \param bias          float32 [out] or none
  /// \throws c10::Error when anything is out of range, or the int32 sums could overflow
  PackedLinear(const at::Tensor& weight, const at::Tensor& weight_scale,
               const std::optional<at::Tensor>& bias, double x_scale, int64_t x_zero_point,
               const std::string& epilogue);

  State state() const;
  static c10::intrusive_ptr<PackedLinear> from_state(const State& state);

  /// x: uint8 [..., in].
  at::Tensor run(const at::Tensor& x, at::TensorList others) const;

 private:
  WeightPool<kernels::GemmWeight>::Handle weight_;
  at::Tensor weight_scale_;
  std::optional<at::Tensor> bias_;
  double x_scale_;
  int64_t x_zero_point_;
  kernels::Epilogue epilogue_;
  kernels::AlignedVector<int32_t> start_;
  kernels::AlignedVector<float> scale_;
  kernels::AlignedVector<float> padded_bias_;
};

/// A contiguous int8 weight [out, in] as all linear layers of the process share it.
WeightPool<kernels::GemmWeight>::Handle pool_linear_weight(const at::Tensor& plain);

}  // namespace ipex_quant::runtime
