// Under torch.autocast, tensors of fewer bits that reach our operators become float32 first.
//
// Float layers in front give bfloat16 there, and quantizing reads float32. Results are what they
// are without autocast: uint8, or float32.
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <torch/library.h>

namespace ipex_quant::runtime {
namespace {

bool is_narrow(const at::Tensor& tensor) {
  return tensor.defined() &&
         (tensor.scalar_type() == at::kBFloat16 || tensor.scalar_type() == at::kHalf);
}

at::Tensor widened(const at::Tensor& tensor) {
  return is_narrow(tensor) ? tensor.to(at::kFloat) : tensor;
}

void in_float32(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const std::size_t count = op.schema().arguments().size();
  for (std::size_t i = stack->size() - count; i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) {
      value = widened(value.toTensor());
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> tensors = value.toTensorVector();
      for (at::Tensor& tensor : tensors) tensor = widened(tensor);
      value = std::move(tensors);
    }
  }
  op.callBoxed(stack);
}

// All that may read a float tensor: as their input, as a state, or in their epilogue.
// clang-format off
constexpr const char* kOps[] = {
    "attention", "binary", "conv", "embedding_bag", "group_norm", "gru", "gru_sequences",
    "layer_norm", "layer_norm_quantize", "linear", "linear_dynamic", "lstm", "lstm_sequences",
    "matmul", "quantize", "quantize_channels_last", "rms_norm_quantize", "rnn", "rnn_sequences",
    "softmax",
};
// clang-format on

}  // namespace

TORCH_LIBRARY_IMPL(ipex_quant, AutocastCPU, m) {
  for (const char* op : kOps) {
    m.impl(op, torch::CppFunction::makeFromBoxedFunction<&in_float32>());
  }
}

}  // namespace ipex_quant::runtime
