// Pooling operators of uint8 tensors: max_pool, avg_pool, both adaptive to the input, and mean.
#include "kernels/pool/pool.h"

#include <ATen/WrapDimUtils.h>
#include <torch/library.h>

#include <algorithm>

#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/threading.h"

namespace ipex_quant::runtime {
namespace {

using kernels::active_features;
using kernels::PoolWindow;

/// One pooled axis in the terms of torch.
struct Axis {
  int64_t in, kernel, stride, padding, dilation;
};

/// `values` for each of `axes` axes: one value stands for all, none for `fallback`.
std::vector<int64_t> per_axis(at::IntArrayRef values, size_t axes, at::IntArrayRef fallback,
                              const char* op, const char* name) {
  if (values.empty()) return fallback.vec();
  if (values.size() == 1) return std::vector<int64_t>(axes, values[0]);
  TORCH_CHECK(values.size() == axes, op, ": ", name, " must have 1 or ", axes, " entries, got ",
              values.size());
  return values.vec();
}

/// Size of a pooled axis, as aten computes it.
int64_t output_size(const Axis& axis, bool ceil_mode) {
  const int64_t span = axis.in + 2 * axis.padding - axis.dilation * (axis.kernel - 1) - 1;
  const int64_t top = span + (ceil_mode ? axis.stride - 1 : 0);
  int64_t size = (top >= 0 ? top / axis.stride : -((-top + axis.stride - 1) / axis.stride)) + 1;
  // The last window must start inside the image or its left padding.
  if (ceil_mode && (size - 1) * axis.stride >= axis.in + axis.padding) --size;
  return size;
}

/// Windows of a pooled axis. `count` is the number of positions that the divisor counts.
std::vector<PoolWindow> make_windows(const Axis& axis, bool ceil_mode, bool count_padding,
                                     const char* op) {
  TORCH_CHECK(axis.kernel > 0 && axis.stride > 0 && axis.dilation > 0 && axis.padding >= 0, op,
              ": kernel size, stride and dilation must be positive and padding not negative, got ",
              axis.kernel, ", ", axis.stride, ", ", axis.dilation, ", ", axis.padding);
  TORCH_CHECK(axis.padding <= ((axis.kernel - 1) * axis.dilation + 1) / 2, op, ": padding ",
              axis.padding, " is more than half of the effective kernel size ",
              (axis.kernel - 1) * axis.dilation + 1);
  const int64_t size = output_size(axis, ceil_mode);
  TORCH_CHECK(size >= 1, op, ": the output would have size ", size, " along an axis of size ",
              axis.in, " with kernel size ", axis.kernel, "; use a larger input or padding");
  std::vector<PoolWindow> windows;
  windows.reserve(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) {
    const int64_t start = i * axis.stride - axis.padding;
    // One past the last position; padding counts, what lies beyond it does not.
    const int64_t last = start + (axis.kernel - 1) * axis.dilation + 1;
    const int64_t padded = std::min(last, axis.in + axis.padding);
    const int64_t skipped = start < 0 ? (-start + axis.dilation - 1) / axis.dilation : 0;
    PoolWindow window{start + skipped * axis.dilation, std::min(last, axis.in), axis.dilation, 0};
    const int64_t from = count_padding ? start : window.begin;
    const int64_t to = count_padding ? padded : window.end;
    window.count = std::max<int64_t>(to - from, 0);
    windows.push_back(window);
  }
  return windows;
}

/// A pooling of channels-last images, from checked arguments.
struct Pooling {
  at::Tensor src;  ///< [N, C, ...], channels innermost
  at::Tensor dst;
  bool batched;
  kernels::PoolArgs args;

  /// \param windows per spatial axis
  Pooling(const at::Tensor& x, std::vector<std::vector<PoolWindow>> windows)
      : batched(x.dim() == static_cast<int64_t>(windows.size()) + 2) {
    const at::Tensor images = batched ? x : x.unsqueeze(0);
    src = to_channels_last(images);
    std::vector<int64_t> sizes = {src.size(0), src.size(1)};
    for (const auto& axis : windows) sizes.push_back(static_cast<int64_t>(axis.size()));
    dst = empty_channels_last(sizes, at::kByte);
    args.src = src.const_data_ptr<uint8_t>();
    args.dst = dst.data_ptr<uint8_t>();
    args.images = src.size(0);
    args.channels = src.size(1);
    const size_t unused = kernels::kPoolAxes - windows.size();
    for (size_t axis = 0; axis < kernels::kPoolAxes; ++axis) {
      if (axis < unused) {
        args.in[axis] = 1;
        args.windows[axis] = {{0, 1, 1, 1}};
      } else {
        args.in[axis] = src.size(static_cast<int64_t>(axis - unused) + 2);
        args.windows[axis] = std::move(windows[axis - unused]);
      }
    }
  }

  at::Tensor result() const { return batched ? dst : dst.squeeze(0); }
};

void check_image(const at::Tensor& x, size_t axes, const char* op) {
  check_tensor(x, at::kByte, op, "x");
  TORCH_CHECK(axes >= 1 && axes <= kernels::kPoolAxes, op, ": kernel size must have 1 to ",
              kernels::kPoolAxes, " entries, got ", axes);
  const int64_t rank = static_cast<int64_t>(axes) + 2;
  TORCH_CHECK(x.dim() == rank || x.dim() == rank - 1, op, ": x must have ", rank - 1, " or ", rank,
              " dimensions for ", axes, " pooled axes, got shape ", x.sizes());
  for (int64_t d = x.dim() == rank ? 1 : 0; d < x.dim(); ++d) {
    TORCH_CHECK(x.size(d) > 0, op, ": only the batch may be empty, got shape ", x.sizes());
  }
}

at::Tensor max_pool(const at::Tensor& x, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                    at::IntArrayRef padding, at::IntArrayRef dilation, bool ceil_mode) {
  const size_t axes = kernel_size.size();
  check_image(x, axes, "max_pool");
  const auto strides = per_axis(stride, axes, kernel_size, "max_pool", "stride");
  const auto paddings =
      per_axis(padding, axes, std::vector<int64_t>(axes, 0), "max_pool", "padding");
  const auto dilations =
      per_axis(dilation, axes, std::vector<int64_t>(axes, 1), "max_pool", "dilation");
  std::vector<std::vector<PoolWindow>> windows;
  for (size_t i = 0; i < axes; ++i) {
    const int64_t in = x.size(x.dim() - static_cast<int64_t>(axes - i));
    windows.push_back(make_windows({in, kernel_size[i], strides[i], paddings[i], dilations[i]},
                                   ceil_mode, false, "max_pool"));
  }
  const Pooling pooling(x, std::move(windows));
  kernels::max_pool(pooling.args, active_features(), torch_parallel());
  return pooling.result();
}

/// Scales and zero points of an average, checked.
kernels::AverageArgs average_args(double scale, int64_t zero_point, double out_scale,
                                  int64_t out_zero_point, int64_t divisor, const char* op) {
  check_qparams(scale, zero_point, op);
  check_qparams(out_scale, out_zero_point, op);
  return {static_cast<float>(scale), static_cast<int32_t>(zero_point), inverse_scale(out_scale),
          static_cast<int32_t>(out_zero_point), divisor};
}

at::Tensor average(const at::Tensor& x, std::vector<std::vector<PoolWindow>> windows,
                   const kernels::AverageArgs& args, const char* op) {
  int64_t taps = 1;
  for (const auto& axis : windows) {
    int64_t most = 0;
    for (const PoolWindow& window : axis) most = std::max(most, window.end - window.begin);
    taps *= most;
  }
  TORCH_CHECK(taps <= kernels::kMaxAverageTaps, op, ": a window has ", taps, " elements; at most ",
              kernels::kMaxAverageTaps, " can be averaged");
  const Pooling pooling(x, std::move(windows));
  kernels::avg_pool(pooling.args, args, active_features(), torch_parallel());
  return pooling.result();
}

at::Tensor avg_pool(const at::Tensor& x, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                    at::IntArrayRef padding, bool ceil_mode, bool count_include_pad,
                    std::optional<int64_t> divisor_override, double scale, int64_t zero_point,
                    double out_scale, int64_t out_zero_point) {
  const size_t axes = kernel_size.size();
  check_image(x, axes, "avg_pool");
  TORCH_CHECK(!divisor_override.has_value() || *divisor_override != 0,
              "avg_pool: divisor_override must not be 0");
  const auto args = average_args(scale, zero_point, out_scale, out_zero_point,
                                 divisor_override.value_or(0), "avg_pool");
  const auto strides = per_axis(stride, axes, kernel_size, "avg_pool", "stride");
  const auto paddings =
      per_axis(padding, axes, std::vector<int64_t>(axes, 0), "avg_pool", "padding");
  std::vector<std::vector<PoolWindow>> windows;
  for (size_t i = 0; i < axes; ++i) {
    const int64_t in = x.size(x.dim() - static_cast<int64_t>(axes - i));
    windows.push_back(make_windows({in, kernel_size[i], strides[i], paddings[i], 1}, ceil_mode,
                                   count_include_pad, "avg_pool"));
  }
  return average(x, std::move(windows), args, "avg_pool");
}

/// Windows that share the input out evenly, as torch does; they overlap where sizes do not divide.
std::vector<std::vector<PoolWindow>> adaptive_windows(const at::Tensor& x,
                                                      at::IntArrayRef output_size, const char* op) {
  const size_t axes = output_size.size();
  check_image(x, axes, op);
  std::vector<std::vector<PoolWindow>> windows(axes);
  for (size_t i = 0; i < axes; ++i) {
    const int64_t in = x.size(x.dim() - static_cast<int64_t>(axes - i));
    const int64_t out = output_size[i];
    TORCH_CHECK(out > 0, op, ": output size must be positive, got ", output_size);
    for (int64_t o = 0; o < out; ++o) {
      const int64_t begin = o * in / out;
      const int64_t end = ((o + 1) * in + out - 1) / out;
      windows[i].push_back({begin, end, 1, end - begin});
    }
  }
  return windows;
}

at::Tensor adaptive_max_pool(const at::Tensor& x, at::IntArrayRef output_size) {
  const Pooling pooling(x, adaptive_windows(x, output_size, "adaptive_max_pool"));
  kernels::max_pool(pooling.args, active_features(), torch_parallel());
  return pooling.result();
}

at::Tensor adaptive_avg_pool(const at::Tensor& x, at::IntArrayRef output_size, double scale,
                             int64_t zero_point, double out_scale, int64_t out_zero_point) {
  auto windows = adaptive_windows(x, output_size, "adaptive_avg_pool");
  const auto args =
      average_args(scale, zero_point, out_scale, out_zero_point, 0, "adaptive_avg_pool");
  return average(x, std::move(windows), args, "adaptive_avg_pool");
}

/// The dimensions of `x` in two groups: kept and reduced, outermost first in memory.
struct Split {
  std::vector<int64_t> kept, reduced;

  Split(const at::Tensor& x, at::IntArrayRef dim) {
    std::vector<bool> is_reduced(static_cast<size_t>(x.dim()), dim.empty());
    for (const int64_t d : dim) {
      const int64_t wrapped = at::maybe_wrap_dim(d, x.dim());
      TORCH_CHECK(!is_reduced[static_cast<size_t>(wrapped)], "mean: dimension ", d,
                  " appears twice in dim");
      is_reduced[static_cast<size_t>(wrapped)] = true;
    }
    for (int64_t d = 0; d < x.dim(); ++d) {
      (is_reduced[static_cast<size_t>(d)] ? reduced : kept).push_back(d);
    }
    const auto by_stride = [&](int64_t a, int64_t b) { return x.stride(a) > x.stride(b); };
    std::stable_sort(kept.begin(), kept.end(), by_stride);
    std::stable_sort(reduced.begin(), reduced.end(), by_stride);
  }
};

int64_t product(const at::Tensor& x, at::IntArrayRef dims) {
  int64_t result = 1;
  for (const int64_t d : dims) result *= x.size(d);
  return result;
}

at::Tensor mean(const at::Tensor& x, at::IntArrayRef dim, bool keepdim, double scale,
                int64_t zero_point, double out_scale, int64_t out_zero_point) {
  check_tensor(x, at::kByte, "mean", "x");
  const auto args = average_args(scale, zero_point, out_scale, out_zero_point, 0, "mean");
  const Split split(x, dim);
  const int64_t count = product(x, split.reduced);
  TORCH_CHECK(count <= kernels::kMaxAverageTaps, "mean: ", count, " elements per result; at most ",
              kernels::kMaxAverageTaps, " can be averaged");

  // The kept dimensions that lie inside all reduced ones are the channels of a pooling whose images
  // are the other kept dimensions.
  std::vector<int64_t> images, channels;
  for (const int64_t d : split.kept) {
    const bool inside = std::all_of(split.reduced.begin(), split.reduced.end(), [&](int64_t r) {
      return x.size(r) == 1 || x.stride(d) < x.stride(r);
    });
    (inside ? channels : images).push_back(d);
  }
  std::vector<int64_t> order = images;
  order.insert(order.end(), split.reduced.begin(), split.reduced.end());
  order.insert(order.end(), channels.begin(), channels.end());
  const at::Tensor src = x.permute(order).contiguous();

  std::vector<int64_t> kept_order = images;
  kept_order.insert(kept_order.end(), channels.begin(), channels.end());
  std::vector<int64_t> sizes;
  for (const int64_t d : kept_order) sizes.push_back(x.size(d));
  const at::Tensor dst = empty(sizes, at::kByte);
  if (dst.numel() > 0 && channels.empty()) {
    kernels::average_rows(src.const_data_ptr<uint8_t>(), dst.numel(), count, args,
                          dst.data_ptr<uint8_t>(), active_features(), torch_parallel());
  } else if (dst.numel() > 0) {
    kernels::PoolArgs pool;
    pool.src = src.const_data_ptr<uint8_t>();
    pool.dst = dst.data_ptr<uint8_t>();
    pool.images = product(x, images);
    pool.channels = product(x, channels);
    for (int axis = 0; axis < kernels::kPoolAxes; ++axis) {
      const int64_t size = axis == kernels::kPoolAxes - 1 ? count : 1;
      pool.in[axis] = size;
      pool.windows[axis] = {{0, size, 1, size}};
    }
    kernels::avg_pool(pool, args, active_features(), torch_parallel());
  }

  // Back to the order of x.
  std::vector<int64_t> back(kept_order.size());
  std::vector<int64_t> sorted = kept_order;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); ++i) {
    back[i] = std::find(kept_order.begin(), kept_order.end(), sorted[i]) - kept_order.begin();
  }
  at::Tensor result = dst.permute(back).contiguous();
  if (!keepdim) return result;
  std::vector<int64_t> kept_sizes = x.sizes().vec();
  for (const int64_t d : split.reduced) kept_sizes[static_cast<size_t>(d)] = 1;
  return result.view(kept_sizes);
}

}  // namespace

TORCH_LIBRARY_IMPL(ipex_quant, CPU, m) {
  m.impl("max_pool", &max_pool);
  m.impl("adaptive_max_pool", &adaptive_max_pool);
  m.impl("avg_pool", &avg_pool);
  m.impl("adaptive_avg_pool", &adaptive_avg_pool);
  m.impl("mean", &mean);
}

}  // namespace ipex_quant::runtime
