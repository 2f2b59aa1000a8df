// The operators ipex_quant::linear_prepack and ipex_quant::linear.
#include <torch/library.h>

#include "runtime/packed_linear.h"

namespace ipex_quant::runtime {
namespace {

c10::intrusive_ptr<PackedLinear> linear_prepack(const at::Tensor& weight,
                                                const at::Tensor& weight_scale,
                                                const std::optional<at::Tensor>& bias,
                                                double x_scale, int64_t x_zero_point,
                                                std::string epilogue) {
  return c10::make_intrusive<PackedLinear>(weight, weight_scale, bias, x_scale, x_zero_point,
                                           epilogue);
}

at::Tensor linear(const at::Tensor& x, const c10::intrusive_ptr<PackedLinear>& packed,
                  at::TensorList others) {
  return packed->run(x, others);
}

}  // namespace

TORCH_LIBRARY_IMPL(ipex_quant, CPU, m) {
  m.impl("linear_prepack", &linear_prepack);
  m.impl("linear", &linear);
}

}  // namespace ipex_quant::runtime
