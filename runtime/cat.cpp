// ipex_quant::cat: joins uint8 tensors and brings them to one scale and zero point.
#include <ATen/WrapDimUtils.h>
#include <torch/library.h>

#include <algorithm>

#include "kernels/eltwise/eltwise.h"
#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/threading.h"

namespace ipex_quant::runtime {
namespace {

/// True for the legacy empty tensor of shape [0], which aten::cat leaves out whatever the others
/// are.
bool is_skipped(const at::Tensor& tensor) { return tensor.dim() == 1 && tensor.size(0) == 0; }

void check_shapes(at::TensorList tensors, const at::Tensor& first, int64_t dim) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor& tensor = tensors[i];
    check_tensor(tensor, at::kByte, "cat", "every tensor");
    if (is_skipped(tensor)) continue;
    bool fits = tensor.dim() == first.dim();
    for (int64_t d = 0; fits && d < first.dim(); ++d) {
      fits = d == dim || tensor.size(d) == first.size(d);
    }
    TORCH_CHECK(fits, "cat: tensor ", i, " of shape ", tensor.sizes(),
                " cannot be joined along dimension ", dim, " to one of shape ", first.sizes());
  }
}

at::Tensor cat(at::TensorList tensors, at::ArrayRef<double> scales, at::IntArrayRef zero_points,
               int64_t dim, double out_scale, int64_t out_zero_point) {
  TORCH_CHECK(!tensors.empty(), "cat: expected at least one tensor");
  TORCH_CHECK(scales.size() == tensors.size() && zero_points.size() == tensors.size(),
              "cat: expected one scale and zero point for each of ", tensors.size(),
              " tensors, got ", scales.size(), " and ", zero_points.size());
  check_qparams(out_scale, out_zero_point, "cat (output)");
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [](const at::Tensor& t) { return !is_skipped(t); });
  const at::Tensor& first = found == tensors.end() ? tensors[0] : *found;
  dim = at::maybe_wrap_dim(dim, first.dim());
  check_shapes(tensors, first, dim);

  // Channels innermost when all inputs are so and one of them is not also contiguous.
  bool channels_last = true;
  bool contiguous = true;
  std::vector<int64_t> sizes = first.sizes().vec();
  sizes[static_cast<size_t>(dim)] = 0;
  for (const at::Tensor& tensor : tensors) {
    if (is_skipped(tensor)) continue;
    channels_last &= pixel_stride(tensor) != 0;
    contiguous &= tensor.is_contiguous();
    sizes[static_cast<size_t>(dim)] += tensor.size(dim);
  }
  channels_last &= !contiguous;
  const at::Tensor out =
      channels_last ? empty_channels_last(sizes, at::kByte) : empty(sizes, at::kByte);
  if (out.numel() == 0) return out;

  // Dimensions from the outermost in memory to the innermost: rows stand before dim.
  std::vector<int64_t> order;
  for (int64_t d = 0; d < first.dim(); ++d) {
    if (!channels_last || d != 1) order.push_back(d);
  }
  if (channels_last) order.push_back(1);
  const auto at_dim = std::find(order.begin(), order.end(), dim);
  int64_t rows = 1;
  for (auto d = order.begin(); d != at_dim; ++d) rows *= out.size(*d);
  const int64_t out_cols = out.numel() / rows;

  int64_t offset = 0;
  int64_t at = 0;  // of dim
  for (size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor& tensor = tensors[i];
    if (is_skipped(tensor)) continue;
    check_qparams(scales[i], zero_points[i], "cat");
    const int64_t size = tensor.size(dim);
    const int64_t cols = tensor.numel() / rows;
    uint8_t table[256];
    const bool same = static_cast<float>(scales[i]) == static_cast<float>(out_scale) &&
                      zero_points[i] == out_zero_point;
    if (!same) {
      kernels::requantize_table(static_cast<float>(scales[i]), static_cast<int32_t>(zero_points[i]),
                                inverse_scale(out_scale), static_cast<int32_t>(out_zero_point),
                                kernels::active_features(), table);
    }
    // A slice of channels is read where it is.
    const bool pixels = channels_last && dim == 1;
    const bool dense = channels_last ? is_channels_last(tensor) : tensor.is_contiguous();
    if (same && !pixels && !dense) {
      out.narrow(dim, at, size).copy_(tensor);
    } else {
      const at::Tensor src = pixels || dense ? tensor
                             : channels_last ? to_channels_last(tensor)
                                             : tensor.contiguous();
      kernels::copy_rows({src.const_data_ptr<uint8_t>(), pixels ? pixel_stride(src) : cols,
                          out.data_ptr<uint8_t>() + offset, out_cols, rows, cols,
                          same ? nullptr : table},
                         kernels::active_features(), torch_parallel());
    }
    offset += cols;
    at += size;
  }
  return out;
}

}  // namespace

// For every backend: an empty list of tensors has none.
TORCH_LIBRARY_IMPL(ipex_quant, CompositeExplicitAutograd, m) { m.impl("cat", &cat); }

}  // namespace ipex_quant::runtime
