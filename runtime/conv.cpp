// The operators ipex_quant::conv_prepack and ipex_quant::conv.
#include <torch/library.h>

#include "runtime/packed_conv.h"

namespace ipex_quant::runtime {
namespace {

c10::intrusive_ptr<PackedConv>
conv_prepack(const at::Tensor& weight, const at::Tensor& weight_scale,
             const std::optional<at::Tensor>& bias, at::IntArrayRef stride, at::IntArrayRef padding,
             at::IntArrayRef dilation, at::IntArrayRef output_padding, int64_t groups,
             bool transposed, double x_scale, int64_t x_zero_point, std::string epilogue) {
  return c10::make_intrusive<PackedConv>(weight, weight_scale, bias,
                                         ConvArguments{stride.vec(), padding.vec(), dilation.vec(),
                                                       output_padding.vec(), groups, transposed},
                                         x_scale, x_zero_point, epilogue);
}

at::Tensor conv(const at::Tensor& x, const c10::intrusive_ptr<PackedConv>& packed,
                at::TensorList others) {
  return packed->run(x, others);
}

}  // namespace

TORCH_LIBRARY_IMPL(ipex_quant, CPU, m) {
  m.impl("conv_prepack", &conv_prepack);
  m.impl("conv", &conv);
}

}  // namespace ipex_quant::runtime
