// The operators softmax, layer_norm and rms_norm, which quantize their results.
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <cmath>

#include "kernels/norm/norm.h"
#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/threading.h"

namespace ipex_quant::runtime {
namespace {

using kernels::active_features;

at::Tensor softmax(const at::Tensor& x, double scale, int64_t zero_point) {
  check_tensor(x, at::kFloat, "softmax", "x");
  check_qparams(scale, zero_point, "softmax");
  TORCH_CHECK(x.dim() >= 1, "softmax: x must have 1 dimension or more, got a number");
  const at::Tensor rows = x.contiguous();
  at::Tensor out = empty(x.sizes(), at::kByte);
  if (x.numel() == 0) return out;
  const int64_t cols = x.size(-1);
  kernels::softmax({rows.const_data_ptr<float>(), out.mutable_data_ptr<uint8_t>(), x.numel() / cols,
                    cols, cols, cols, inverse_scale(scale), static_cast<int32_t>(zero_point)},
                   active_features(), torch_parallel());
  return out;
}

/// One of weight and bias, contiguous; x must end in its shape.
at::Tensor check_factors(const at::Tensor& factors, const at::Tensor& weight, const at::Tensor& x,
                         const char* op, const char* name) {
  check_tensor(factors, at::kFloat, op, name);
  TORCH_CHECK(factors.sizes() == weight.sizes(), op, ": ", name, " must have shape ",
              weight.sizes(), " as the weight, got ", factors.sizes());
  TORCH_CHECK(factors.dim() >= 1 && factors.dim() <= x.dim() &&
                  x.sizes().slice(static_cast<size_t>(x.dim() - factors.dim())) == factors.sizes(),
              op, ": x must end in the shape of the weight, got ", x.sizes(), " and ",
              factors.sizes());
  return factors.contiguous();
}

/// Both results; `y` is undefined when it is not wanted.
std::tuple<at::Tensor, at::Tensor> run_layer_norm(const at::Tensor& x, const at::Tensor& weight,
                                                  const at::Tensor& bias, double eps,
                                                  const std::optional<at::Tensor>& factor,
                                                  double scale, int64_t zero_point,
                                                  bool wants_float) {
  check_tensor(x, at::kFloat, "layer_norm", "x");
  check_qparams(scale, zero_point, "layer_norm");
  TORCH_CHECK(std::isfinite(eps) && eps >= 0,
              "layer_norm: eps must be finite and not negative, got ", eps);
  const at::Tensor w = check_factors(weight, weight, x, "layer_norm", "weight");
  const at::Tensor b = check_factors(bias, weight, x, "layer_norm", "bias");
  const at::Tensor f =
      factor ? check_factors(*factor, weight, x, "layer_norm", "factor") : at::Tensor();
  const at::Tensor rows = x.contiguous();
  at::Tensor y = wants_float ? empty(x.sizes(), at::kFloat) : at::Tensor();
  at::Tensor q = empty(x.sizes(), at::kByte);
  if (x.numel() == 0) return {y, q};
  kernels::layer_norm({rows.const_data_ptr<float>(), w.const_data_ptr<float>(),
                       b.const_data_ptr<float>(), f.defined() ? f.const_data_ptr<float>() : nullptr,
                       wants_float ? y.mutable_data_ptr<float>() : nullptr,
                       q.mutable_data_ptr<uint8_t>(), x.numel() / w.numel(), w.numel(),
                       static_cast<float>(eps), inverse_scale(scale),
                       static_cast<int32_t>(zero_point)},
                      active_features(), torch_parallel());
  return {y, q};
}

std::tuple<at::Tensor, at::Tensor> layer_norm(const at::Tensor& x, const at::Tensor& weight,
                                              const at::Tensor& bias, double eps,
                                              const std::optional<at::Tensor>& factor, double scale,
                                              int64_t zero_point) {
  return run_layer_norm(x, weight, bias, eps, factor, scale, zero_point, /*wants_float=*/true);
}

at::Tensor layer_norm_quantize(const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& bias, double eps,
                               const std::optional<at::Tensor>& factor, double scale,
                               int64_t zero_point) {
  return std::get<1>(
      run_layer_norm(x, weight, bias, eps, factor, scale, zero_point, /*wants_float=*/false));
}

at::Tensor rms_norm_quantize(const at::Tensor& x, const at::Tensor& weight, double eps,
                             double scale, int64_t zero_point) {
  check_tensor(x, at::kFloat, "rms_norm", "x");
  check_qparams(scale, zero_point, "rms_norm");
  TORCH_CHECK(std::isfinite(eps) && eps >= 0, "rms_norm: eps must be finite and not negative, got ",
              eps);
  const at::Tensor w = check_factors(weight, weight, x, "rms_norm", "weight");
  const at::Tensor rows = x.contiguous();
  at::Tensor q = empty(x.sizes(), at::kByte);
  if (x.numel() == 0) return q;
  kernels::layer_norm({rows.const_data_ptr<float>(), w.const_data_ptr<float>(), /*bias=*/nullptr,
                       /*factor=*/nullptr, /*dst=*/nullptr, q.mutable_data_ptr<uint8_t>(),
                       x.numel() / w.numel(), w.numel(), static_cast<float>(eps),
                       inverse_scale(scale), static_cast<int32_t>(zero_point)},
                      active_features(), torch_parallel());
  return q;
}

}  // namespace

TORCH_LIBRARY_IMPL(ipex_quant, CPU, m) {
  m.impl("layer_norm", &layer_norm);
  m.impl("layer_norm_quantize", &layer_norm_quantize);
  m.impl("rms_norm_quantize", &rms_norm_quantize);
  m.impl("softmax", &softmax);
}

}  // namespace ipex_quant::runtime
