// Batches of matrices as the kernels take them: a pointer per matrix.
#include "runtime/batches.h"

#include <ATen/ExpandUtils.h>

namespace ipex_quant::runtime {
namespace {

bool unit_stride(const at::Tensor& tensor, int64_t dim) {
  return tensor.size(dim) == 1 || tensor.stride(dim) == 1;
}

}  // namespace

std::vector<int64_t> batch_offsets(const at::Tensor& tensor) {
  std::vector<int64_t> offsets = {0};
  for (int64_t d = 0; d < tensor.dim() - 2; ++d) {
    std::vector<int64_t> finer;
    finer.reserve(offsets.size() * static_cast<size_t>(tensor.size(d)));
    for (const int64_t offset : offsets) {
      for (int64_t i = 0; i < tensor.size(d); ++i) finer.push_back(offset + i * tensor.stride(d));
    }
    offsets = std::move(finer);
  }
  return offsets;
}

std::vector<const uint8_t*> batch_pointers(const at::Tensor& tensor) {
  std::vector<const uint8_t*> pointers;
  for (const int64_t offset : batch_offsets(tensor)) {
    pointers.push_back(tensor.const_data_ptr<uint8_t>() + offset);
  }
  return pointers;
}

at::Tensor expand_batch(const at::Tensor& tensor, at::IntArrayRef batch) {
  std::vector<int64_t> sizes = batch.vec();
  sizes.push_back(tensor.size(-2));
  sizes.push_back(tensor.size(-1));
  return tensor.sizes() == at::IntArrayRef(sizes) ? tensor : tensor.expand(sizes);
}

std::vector<int64_t> broadcast_batch(const at::Tensor& a, const at::Tensor& b) {
  return at::infer_size(a.sizes().slice(0, static_cast<size_t>(a.dim() - 2)),
                        b.sizes().slice(0, static_cast<size_t>(b.dim() - 2)));
}

at::Tensor left_operand(const at::Tensor& tensor, at::IntArrayRef batch) {
  return expand_batch(unit_stride(tensor, -1) ? tensor : tensor.contiguous(), batch);
}

at::Tensor right_operand(const at::Tensor& tensor, at::IntArrayRef batch) {
  const bool usable = unit_stride(tensor, -1) || unit_stride(tensor, -2);
  return expand_batch(usable ? tensor : tensor.contiguous(), batch);
}

int64_t stride_of(const at::Tensor& tensor, int64_t dim) {
  return tensor.size(dim) == 1 ? 1 : tensor.stride(dim);
}

BatchedTensors::BatchedTensors(const std::vector<at::Tensor>& tensors, int64_t batches)
    : descriptors(tensors.size() * static_cast<size_t>(batches)) {
  for (size_t t = 0; t < tensors.size(); ++t) {
    const int64_t columns_stride = tensors[t].size(-1) == 1 ? 0 : tensors[t].stride(-1);
    const bool usable = columns_stride == 0 || columns_stride == 1;
    const at::Tensor& tensor = owners.emplace_back(usable ? tensors[t] : tensors[t].contiguous());
    const auto size = static_cast<int64_t>(tensor.element_size());
    const std::vector<int64_t> offsets = batch_offsets(tensor);
    for (size_t i = 0; i < offsets.size(); ++i) {
      const char* data = static_cast<const char*>(tensor.const_data_ptr()) + offsets[i] * size;
      descriptors[i * tensors.size() + t] = {data, tensor.stride(-2), usable ? columns_stride : 1};
    }
  }
}

}  // namespace ipex_quant::runtime
