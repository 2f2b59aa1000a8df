// Merges dimensions of tensors that are walked together.
#include "runtime/strided_loop.h"

#include <algorithm>

#include "runtime/layout.h"

namespace ipex_quant::runtime {
namespace {

bool can_merge(const std::vector<at::Tensor>& tensors, int64_t inner, int64_t outer,
               int64_t inner_size) {
  return std::all_of(tensors.begin(), tensors.end(), [&](const at::Tensor& tensor) {
    return tensor.stride(outer) == tensor.stride(inner) * inner_size;
  });
}

}  // namespace

int64_t StridedLoop::outer() const {
  int64_t product = 1;
  for (size_t d = 2; d < sizes.size(); ++d) product *= sizes[d];
  return product;
}

std::vector<int64_t> StridedLoop::offsets(int64_t index) const {
  std::vector<int64_t> result(strides.size(), 0);
  for (size_t d = 2; d < sizes.size(); ++d) {
    for (size_t t = 0; t < strides.size(); ++t) result[t] += index % sizes[d] * strides[t][d];
    index /= sizes[d];
  }
  return result;
}

StridedLoop make_strided_loop(std::vector<at::Tensor>& tensors) {
  const at::Tensor& out = tensors[0];
  std::vector<int64_t> dims;
  for (int64_t d = 0; d < out.dim(); ++d) {
    if (out.size(d) != 1) dims.push_back(d);
  }
  std::stable_sort(dims.begin(), dims.end(),
                   [&](int64_t x, int64_t y) { return out.stride(x) < out.stride(y); });
  if (!dims.empty()) {
    for (at::Tensor& tensor : tensors) {
      const int64_t stride = tensor.stride(dims[0]);
      if (stride != 0 && stride != 1) tensor = with_strides_of(tensor, out);
    }
  }
  StridedLoop loop;
  loop.strides.resize(tensors.size());
  int64_t last = -1;  // dimension whose stride the merged one has
  for (const int64_t d : dims) {
    if (last >= 0 && can_merge(tensors, last, d, loop.sizes.back())) {
      loop.sizes.back() *= out.size(d);
      continue;
    }
    last = d;
    loop.sizes.push_back(out.size(d));
    for (size_t t = 0; t < tensors.size(); ++t) {
      loop.strides[t].push_back(tensors[t].stride(d));
    }
  }
  while (loop.sizes.size() < 2) {
    for (size_t t = 0; t < tensors.size(); ++t) {
      loop.strides[t].push_back(loop.sizes.empty() ? 1 : 0);
    }
    loop.sizes.push_back(1);
  }
  return loop;
}

}  // namespace ipex_quant::runtime
