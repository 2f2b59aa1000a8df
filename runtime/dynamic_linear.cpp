// The operators linear_dynamic and rnn with their prepacks: layers quantized at run time.
#include <torch/library.h>

#include "runtime/packed_dynamic_linear.h"
#include "runtime/packed_rnn.h"

namespace ipex_quant::runtime {
namespace {

c10::intrusive_ptr<PackedDynamicLinear>
linear_dynamic_prepack(const at::Tensor& weight, const at::Tensor& weight_scale,
                       const std::optional<at::Tensor>& bias, bool per_row, std::string epilogue) {
  return c10::make_intrusive<PackedDynamicLinear>(weight, weight_scale, bias, per_row, epilogue);
}

at::Tensor linear_dynamic(const at::Tensor& x,
                          const c10::intrusive_ptr<PackedDynamicLinear>& packed,
                          at::TensorList others) {
  return packed->run(x, others);
}

c10::intrusive_ptr<PackedRnn> rnn_prepack(at::TensorList weights, at::TensorList scales,
                                          at::TensorList biases, int64_t num_layers,
                                          bool bidirectional, bool batch_first,
                                          std::string nonlinearity) {
  return c10::make_intrusive<PackedRnn>(RnnDefinition{weights.vec(), scales.vec(), biases.vec(),
                                                      num_layers, bidirectional, batch_first,
                                                      std::move(nonlinearity)});
}

std::tuple<at::Tensor, at::Tensor> rnn(const at::Tensor& x, const at::Tensor& h0,
                                       const c10::intrusive_ptr<PackedRnn>& packed) {
  return packed->run(x, h0);
}

}  // namespace

TORCH_LIBRARY_IMPL(ipex_quant, CPU, m) {
  m.impl("linear_dynamic_prepack", &linear_dynamic_prepack);
  m.impl("linear_dynamic", &linear_dynamic);
  m.impl("rnn", &rnn);
  m.impl("rnn_prepack", &rnn_prepack);
}

}  // namespace ipex_quant::runtime
