/// \file
/// The packed weight of a convolution or transposed convolution, with all that its call needs.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/conv/conv.h"
#include "kernels/epilogue.h"
#include "runtime/weight_pool.h"

namespace ipex_quant::runtime {

/// How a convolution moves over its image, one entry per spatial dimension.
struct ConvArguments {
  std::vector<int64_t> stride;
  std::vector<int64_t> padding;  ///< nd entries, or 2 * nd: all begins, then all ends
  std::vector<int64_t> dilation;
  std::vector<int64_t> output_padding;  ///< all 0 unless transposed
  int64_t groups;
  bool transposed;
};

class PackedConv : public torch::CustomClassHolder {
 public:
  /// version, weight, weight_scale, bias, stride, padding, dilation, output_padding, groups,
  /// transposed, x_scale, x_zero_point, epilogue: what is saved.
  using State = std::tuple<int64_t, at::Tensor, at::Tensor, std::optional<at::Tensor>,
                           std::vector<int64_t>, std::vector<int64_t>, std::vector<int64_t>,
                           std::vector<int64_t>, int64_t, bool, double, int64_t, std::string>;

  /// \param weight        int8 [out, in / groups, kernel...]; transposed: [in, out / groups,
  /// kernel...]
  /// \param weight_scale  float32, 1 or `out` elements, finite and positive
  /// \param bias          float32 [out] or none
  /// \throws c10::Error when anything is out of range, or the int32 sums could overflow
  PackedConv(const at::Tensor& weight, const at::Tensor& weight_scale,
             const std::optional<at::Tensor>& bias, const ConvArguments& arguments, double x_scale,
             int64_t x_zero_point, const std::string& epilogue);

  State state() const;
  static c10::intrusive_ptr<PackedConv> from_state(const State& state);

  /// x: uint8 [batch, in, spatial...] with any strides; the result has its channels innermost.
  at::Tensor run(const at::Tensor& x, at::TensorList others) const;

 private:
  WeightPool<kernels::ConvWeight>::Handle weight_;
  at::Tensor weight_scale_;
  std::optional<at::Tensor> bias_;
  ConvArguments arguments_;
  double x_scale_;
  int64_t x_zero_point_;
  kernels::Epilogue epilogue_;
  kernels::ConvChannels channels_;
};

}  // namespace ipex_quant::runtime
