/// \file
/// The packed weight of a linear layer that takes float input and quantizes it at run time.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <optional>
#include <string>
#include <tuple>

#include "kernels/dynamic/dynamic_linear.h"
#include "kernels/epilogue.h"
#include "runtime/weight_pool.h"

namespace ipex_quant::runtime {

/// y = epilogue(quantized(x) @ (weight * weight_scale)^T + bias). Numerics:
/// kernels/dynamic/dynamic_linear.h.
class PackedDynamicLinear : public torch::CustomClassHolder {
 public:
  /// version, weight, weight_scale, bias, per_row, epilogue: what is saved.
  using State =
      std::tuple<int64_t, at::Tensor, at::Tensor, std::optional<at::Tensor>, bool, std::string>;

  /// \param weight        int8 [out, in], 1 <= in <= 65536
  /// \param weight_scale  float32, 1 or `out` elements, finite and positive
  /// \param bias          float32 [out] or none
  /// \param per_row       a scale for each row of x, or one for the whole of it
  /// \throws c10::Error when anything is out of range
  PackedDynamicLinear(const at::Tensor& weight, const at::Tensor& weight_scale,
                      const std::optional<at::Tensor>& bias, bool per_row,
                      const std::string& epilogue);

  State state() const;
  static c10::intrusive_ptr<PackedDynamicLinear> from_state(const State& state);

  int64_t in_features() const { return weight_->plain.size(1); }
  int64_t out_features() const { return weight_->plain.size(0); }

  /// x: float32 [..., in].
  at::Tensor run(const at::Tensor& x, at::TensorList others) const;

 private:
  WeightPool<kernels::GemmWeight>::Handle weight_;
  at::Tensor weight_scale_;
  std::optional<at::Tensor> bias_;
  bool per_row_;
  kernels::Epilogue epilogue_;
  kernels::AlignedVector<float> scale_;
  kernels::AlignedVector<float> padded_bias_;
};

}  // namespace ipex_quant::runtime
