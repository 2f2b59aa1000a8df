// Argument checks and memory layouts that several operators share.
#include "runtime/layout.h"
#include "runtime/memory.h"

#include <algorithm>
#include <cmath>

namespace ipex_quant::runtime {

void check_tensor(const at::Tensor& tensor, at::ScalarType type, const char* op, const char* name) {
  TORCH_CHECK(tensor.defined() && tensor.scalar_type() == type, op, ": ", name, " must be a ", type,
              " tensor, got ",
              tensor.defined() ? c10::toString(tensor.scalar_type()) : "no tensor");
  TORCH_CHECK(tensor.device().is_cpu() && tensor.layout() == at::kStrided, op, ": ", name,
              " must be a dense CPU tensor, got layout ", tensor.layout(), " on ", tensor.device());
}

void check_qparams(double scale, int64_t zero_point, const char* op) {
  const float narrow = static_cast<float>(scale);
  TORCH_CHECK(std::isfinite(narrow) && narrow > 0 && std::isfinite(1.0f / narrow), op,
              ": scale must be finite and positive in float32, got ", scale);
  TORCH_CHECK(zero_point >= 0 && zero_point <= 255, op, ": zero point must be in 0..255, got ",
              zero_point);
}

float inverse_scale(double scale) { return 1.0f / static_cast<float>(scale); }

at::Tensor with_strides_of(const at::Tensor& tensor, const at::Tensor& like) {
  bool same = true;
  for (int64_t d = 0; d < tensor.dim(); ++d) {
    same &= tensor.size(d) == 1 || tensor.stride(d) == like.stride(d);
  }
  if (same || tensor.numel() == 0) return tensor;
  at::Tensor copy = empty_strided(like.sizes(), like.strides(), tensor.scalar_type());
  copy.copy_(tensor);
  return copy;
}

std::vector<int64_t> channels_last_strides(at::IntArrayRef sizes) {
  std::vector<int64_t> strides(sizes.size());
  strides[1] = 1;
  int64_t stride = std::max<int64_t>(sizes[1], 1);
  for (size_t d = sizes.size() - 1; d >= 2; --d) {
    strides[d] = stride;
    stride *= std::max<int64_t>(sizes[d], 1);
  }
  strides[0] = stride;
  return strides;
}

int64_t pixel_stride(const at::Tensor& tensor) {
  if (tensor.dim() < 3 || tensor.dim() > 5) return 0;
  if (tensor.size(1) > 1 && tensor.stride(1) != 1) return 0;
  const int64_t channels = std::max<int64_t>(tensor.size(1), 1);
  int64_t step = channels;
  int64_t pixels = 1;  // of the dimensions behind d
  for (int64_t i = tensor.dim() - 1; i >= 1; --i) {
    const int64_t d = i == 1 ? 0 : i;
    if (tensor.size(d) <= 1) continue;
    if (pixels == 1) step = tensor.stride(d);
    if (tensor.stride(d) != pixels * step) return 0;
    pixels *= tensor.size(d);
  }
  return step >= channels ? step : 0;  // pixels of an expanded tensor overlap
}

bool is_channels_last(const at::Tensor& tensor) {
  return tensor.dim() >= 3 && pixel_stride(tensor) == std::max<int64_t>(tensor.size(1), 1);
}

at::Tensor to_channels_last(const at::Tensor& tensor) {
  if (is_channels_last(tensor)) return tensor;
  at::Tensor copy = empty_channels_last(tensor.sizes(), tensor.scalar_type());
  copy.copy_(tensor);
  return copy;
}

at::Tensor empty_channels_last(at::IntArrayRef sizes, at::ScalarType type) {
  return empty_strided(sizes, channels_last_strides(sizes), type);
}

}  // namespace ipex_quant::runtime
