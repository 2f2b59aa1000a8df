// The elementwise operators between float32 and uint8, and those that quantize weights.
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>

#include "kernels/eltwise/eltwise.h"
#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/threading.h"

namespace ipex_quant::runtime {
namespace {

using kernels::active_features;

/// An output shaped like `x` with its dense strides, and `x` with exactly those strides.
struct Pair {
  at::Tensor in;
  at::Tensor out;
};

Pair dense_pair(const at::Tensor& x, at::ScalarType type) {
  at::Tensor out = empty_like(x, type);
  return {with_strides_of(x, out), std::move(out)};
}

at::Tensor quantize(const at::Tensor& x, double scale, int64_t zero_point) {
  check_tensor(x, at::kFloat, "quantize", "x");
  check_qparams(scale, zero_point, "quantize");
  const Pair pair = dense_pair(x, at::kByte);
  kernels::quantize({pair.in.const_data_ptr<float>(), pair.out.data_ptr<uint8_t>(), x.numel(),
                     inverse_scale(scale), static_cast<int32_t>(zero_point)},
                    active_features(), torch_parallel());
  return pair.out;
}

at::Tensor quantize_channels_last(const at::Tensor& x, double scale, int64_t zero_point) {
  check_tensor(x, at::kFloat, "quantize_channels_last", "x");
  check_qparams(scale, zero_point, "quantize_channels_last");
  TORCH_CHECK(x.dim() >= 3 && x.dim() <= 5,
              "quantize_channels_last: x must have 3 to 5 dimensions [N, C, ...], got shape ",
              x.sizes());
  at::Tensor out = empty_channels_last(x.sizes(), at::kByte);
  if (x.numel() == 0) return out;
  const float inv_scale = inverse_scale(scale);
  const int32_t zp = static_cast<int32_t>(zero_point);
  if (is_channels_last(x)) {
    kernels::quantize(
        {x.const_data_ptr<float>(), out.data_ptr<uint8_t>(), x.numel(), inv_scale, zp},
        active_features(), torch_parallel());
    return out;
  }
  const at::Tensor planes = x.contiguous();
  const int64_t pixels = x.numel() / (x.size(0) * x.size(1));
  kernels::quantize_planes({planes.const_data_ptr<float>(), pixels, out.data_ptr<uint8_t>(),
                            x.size(1), pixels, inv_scale, zp},
                           x.size(0), active_features(), torch_parallel());
  return out;
}

at::Tensor dequantize(const at::Tensor& q, double scale, int64_t zero_point) {
  check_tensor(q, at::kByte, "dequantize", "q");
  check_qparams(scale, zero_point, "dequantize");
  const Pair pair = dense_pair(q, at::kFloat);
  kernels::dequantize({pair.in.const_data_ptr<uint8_t>(), pair.out.data_ptr<float>(), q.numel(),
                       static_cast<float>(scale), static_cast<int32_t>(zero_point)},
                      active_features(), torch_parallel());
  return pair.out;
}

at::Tensor map_by_table(const at::Tensor& q, const uint8_t* table) {
  const Pair pair = dense_pair(q, at::kByte);
  kernels::lut({pair.in.const_data_ptr<uint8_t>(), pair.out.data_ptr<uint8_t>(), q.numel(), table},
               active_features(), torch_parallel());
  return pair.out;
}

at::Tensor requantize(const at::Tensor& q, double scale, int64_t zero_point, double out_scale,
                      int64_t out_zero_point) {
  check_tensor(q, at::kByte, "requantize", "q");
  check_qparams(scale, zero_point, "requantize");
  check_qparams(out_scale, out_zero_point, "requantize (output)");
  uint8_t table[256];
  kernels::requantize_table(static_cast<float>(scale), static_cast<int32_t>(zero_point),
                            inverse_scale(out_scale), static_cast<int32_t>(out_zero_point),
                            active_features(), table);
  return map_by_table(q, table);
}

at::Tensor lut(const at::Tensor& q, const at::Tensor& table) {
  check_tensor(q, at::kByte, "lut", "q");
  check_tensor(table, at::kByte, "lut", "table");
  TORCH_CHECK(table.dim() == 1 && table.size(0) == 256, "lut: table must have shape [256], got ",
              table.sizes());
  const at::Tensor dense = table.contiguous();
  return map_by_table(q, dense.const_data_ptr<uint8_t>());
}

/// A contiguous weight seen as [outer, channels, inner], with its scales.
struct WeightView {
  at::Tensor weight;
  at::Tensor scales;  ///< float32 [1] or [channels]
  int64_t channels;
  int64_t inner;

  int64_t channel_of(int64_t i) const { return scales.numel() == 1 ? 0 : i / inner % channels; }
};

WeightView view_weight(const at::Tensor& w, at::ScalarType type, const at::Tensor& scales,
                       int64_t axis, const char* op) {
  check_tensor(w, type, op, "w");
  check_tensor(scales, at::kFloat, op, "scales");
  const int64_t rank = std::max<int64_t>(w.dim(), 1);
  TORCH_CHECK(axis >= -rank && axis < rank, op, ": axis ", axis, " is not an axis of a tensor of ",
              w.dim(), " dimensions");
  const int64_t channels = w.dim() == 0 ? 1 : w.size(axis);
  TORCH_CHECK(scales.numel() == 1 || (scales.dim() == 1 && scales.numel() == channels), op,
              ": scales must have 1 or ", channels, " elements for axis ", axis,
              " of a weight of shape ", w.sizes(), ", got ", scales.sizes());
  WeightView view{w.contiguous(), scales.contiguous(), channels, 1};
  for (int64_t d = axis < 0 ? axis + rank + 1 : axis + 1; d < w.dim(); ++d) view.inner *= w.size(d);
  for (int64_t c = 0; c < scales.numel(); ++c) {
    const float scale = view.scales.const_data_ptr<float>()[c];
    TORCH_CHECK(std::isfinite(scale) && scale > 0 && std::isfinite(1.0f / scale), op, ": scale ", c,
                " must be finite and positive, got ", scale);
  }
  return view;
}

at::Tensor quantize_weight(const at::Tensor& w, const at::Tensor& scales, int64_t axis) {
  const WeightView view = view_weight(w, at::kFloat, scales, axis, "quantize_weight");
  at::Tensor out = at::empty_like(view.weight, view.weight.options().dtype(at::kChar));
  const float* src = view.weight.const_data_ptr<float>();
  const float* scale = view.scales.const_data_ptr<float>();
  int8_t* dst = out.data_ptr<int8_t>();
  for (int64_t i = 0; i < w.numel(); ++i) {
    TORCH_CHECK(std::isfinite(src[i]), "quantize_weight: element ", i, " of the weight is ", src[i],
                "; a weight must be finite");
    const float t = src[i] * (1.0f / scale[view.channel_of(i)]);
    dst[i] = static_cast<int8_t>(std::nearbyint(std::min(std::max(t, -127.0f), 127.0f)));
  }
  return out;
}

at::Tensor dequantize_weight(const at::Tensor& w, const at::Tensor& scales, int64_t axis) {
  const WeightView view = view_weight(w, at::kChar, scales, axis, "dequantize_weight");
  at::Tensor out = at::empty_like(view.weight, view.weight.options().dtype(at::kFloat));
  const int8_t* src = view.weight.const_data_ptr<int8_t>();
  const float* scale = view.scales.const_data_ptr<float>();
  float* dst = out.data_ptr<float>();
  for (int64_t i = 0; i < w.numel(); ++i) {
    dst[i] = static_cast<float>(src[i]) * scale[view.channel_of(i)];
  }
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(ipex_quant, CPU, m) {
  m.impl("quantize", &quantize);
  m.impl("quantize_channels_last", &quantize_channels_last);
  m.impl("dequantize", &dequantize);
  m.impl("requantize", &requantize);
  m.impl("lut", &lut);
  m.impl("quantize_weight", &quantize_weight);
  m.impl("dequantize_weight", &dequantize_weight);
}

}  // namespace ipex_quant::runtime
