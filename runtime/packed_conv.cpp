// Packs the weight of a convolution; saves and loads it in plain form.
#include "runtime/packed_conv.h"

#include <torch/custom_class.h>

#include <sstream>

#include "kernels/isa.h"
#include "runtime/epilogue_text.h"
#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/post_op_tensors.h"
#include "runtime/register_ops.h"
#include "runtime/threading.h"
#include "runtime/weight_checks.h"

namespace ipex_quant::runtime {
namespace {

using kernels::ConvGeometry;
using kernels::kAxes;

constexpr int64_t kVersion = 1;
constexpr const char* kPrepack = "conv_prepack";

WeightPool<kernels::ConvWeight> g_pool;

void check_list(const std::vector<int64_t>& list, size_t size, int64_t least, const char* name) {
  TORCH_CHECK(list.size() == size, kPrepack, ": ", name, " has ", list.size(),
              " entries; expected one per spatial dimension, ", size);
  for (const int64_t value : list) {
    TORCH_CHECK(value >= least && value <= (int64_t{1} << 30), kPrepack, ": ", name, " entry ",
                value, " must be at least ", least);
  }
}

ConvGeometry make_geometry(at::IntArrayRef weight, const ConvArguments& a) {
  const size_t nd = weight.size() - 2;
  check_list(a.stride, nd, 1, "stride");
  check_list(a.dilation, nd, 1, "dilation");
  check_list(a.output_padding, nd, 0, "output_padding");
  const bool two_sided = a.padding.size() == 2 * nd && !a.transposed;
  check_list(a.padding, two_sided ? 2 * nd : nd, 0, "padding");
  TORCH_CHECK(a.groups >= 1 && weight[0] % a.groups == 0, kPrepack, ": groups ", a.groups,
              " must be positive and divide the ", weight[0],
              " channels of weight's first dimension");
  ConvGeometry g;
  g.groups = a.groups;
  g.transposed = a.transposed;
  g.in_channels = a.transposed ? weight[0] : weight[1] * a.groups;
  g.out_channels = a.transposed ? weight[1] * a.groups : weight[0];
  for (int64_t size : weight) {
    TORCH_CHECK(size >= 1, kPrepack, ": weight must not be empty, got shape ", weight);
  }
  for (size_t i = 0; i < nd; ++i) {
    const size_t axis = kAxes - nd + i;
    g.kernel[axis] = weight[i + 2];
    g.stride[axis] = a.stride[i];
    g.dilation[axis] = a.dilation[i];
    g.pad_begin[axis] = a.padding[i];
    g.pad_end[axis] = a.padding[two_sided ? nd + i : i];
    g.output_padding[axis] = a.output_padding[i];
    TORCH_CHECK(a.transposed ? a.output_padding[i] < std::max(a.stride[i], a.dilation[i])
                             : a.output_padding[i] == 0,
                kPrepack, ": output_padding ", a.output_padding[i],
                a.transposed ? " must be smaller than stride or dilation"
                             : " must be 0 unless transposed");
  }
  return g;
}

/// All on which the packed form depends beside the weight.
std::string pool_key(const ConvArguments& a) {
  std::ostringstream key;
  key << a.groups << (a.transposed ? " transposed" : " plain");
  for (const auto* list : {&a.stride, &a.padding, &a.dilation, &a.output_padding}) {
    key << ';';
    for (const int64_t value : *list) key << value << ',';
  }
  return key.str();
}

}  // namespace

PackedConv::PackedConv(const at::Tensor& weight, const at::Tensor& weight_scale,
                       const std::optional<at::Tensor>& bias, const ConvArguments& arguments,
                       double x_scale, int64_t x_zero_point, const std::string& epilogue)
    : arguments_(arguments), x_scale_(x_scale), x_zero_point_(x_zero_point) {
  check_tensor(weight, at::kChar, kPrepack, "weight");
  TORCH_CHECK(weight.dim() >= 3 && weight.dim() <= 5, kPrepack,
              ": weight must have 3 to 5 dimensions, got shape ", weight.sizes());
  check_qparams(x_scale, x_zero_point, kPrepack);
  const ConvGeometry geometry = make_geometry(weight.sizes(), arguments);
  const int64_t out = geometry.out_channels;
  weight_scale_ = check_weight_scale(weight_scale, out, kPrepack);
  bias_ = check_bias(bias, out, kPrepack);
  epilogue_ = parse_epilogue(epilogue);
  const at::Tensor plain = weight.contiguous();
  const at::Tensor by_channel =
      arguments.transposed
          ? plain.view({geometry.groups, geometry.in_per_group(), geometry.out_per_group(), -1})
                .transpose(1, 2)
                .contiguous()
          : plain;
  check_no_overflow(by_channel.const_data_ptr<int8_t>(), out,
                    geometry.in_per_group() * geometry.taps(), x_zero_point, kPrepack);
  weight_ = g_pool.get(plain, pool_key(arguments), [&](const at::Tensor& w) {
    return kernels::pack_conv_weight(geometry, w.const_data_ptr<int8_t>());
  });
  const std::vector<float> scale = output_scale(x_scale, weight_scale_, out);
  channels_ =
      kernels::make_conv_channels(weight_->packed, static_cast<int32_t>(x_zero_point), scale.data(),
                                  bias_ ? bias_->const_data_ptr<float>() : nullptr);
}

PackedConv::State PackedConv::state() const {
  const ConvArguments& a = arguments_;
  return {kVersion,
          weight_->plain,
          weight_scale_,
          bias_,
          a.stride,
          a.padding,
          a.dilation,
          a.output_padding,
          a.groups,
          a.transposed,
          x_scale_,
          x_zero_point_,
          format_epilogue(epilogue_)};
}

c10::intrusive_ptr<PackedConv> PackedConv::from_state(const State& state) {
  const auto& [version, weight, weight_scale, bias, stride, padding, dilation, output_padding,
               groups, transposed, x_scale, x_zero_point, epilogue] = state;
  check_state_version(version, kVersion, "PackedConv");
  return c10::make_intrusive<PackedConv>(
      weight, weight_scale, bias,
      ConvArguments{stride, padding, dilation, output_padding, groups, transposed}, x_scale,
      x_zero_point, epilogue);
}

at::Tensor PackedConv::run(const at::Tensor& x, at::TensorList others) const {
  check_tensor(x, at::kByte, "conv", "x");
  const ConvGeometry& g = weight_->packed.geometry;
  const int64_t dim = weight_->plain.dim();
  TORCH_CHECK(x.dim() == dim, "conv: x must have ", dim, " dimensions, got shape ", x.sizes());
  TORCH_CHECK(x.size(1) == g.in_channels, "conv: x has ", x.size(1),
              " channels but the weight takes ", g.in_channels);
  kernels::ConvCall call;
  call.weight = &weight_->packed;
  call.channels = &channels_;
  call.batch = x.size(0);
  std::vector<int64_t> shape{x.size(0), g.out_channels};
  for (int axis = 0; axis < kAxes; ++axis) {
    const int64_t at = dim - kAxes + axis;
    call.in_size[axis] = at >= 2 ? x.size(at) : 1;
    call.out_size[axis] = kernels::conv_output_size(g, axis, call.in_size[axis]);
    if (at < 2) continue;
    TORCH_CHECK(call.in_size[axis] > 0 && call.out_size[axis] > 0, "conv: x with shape ", x.sizes(),
                " is too small for a kernel of shape ", weight_->plain.sizes().slice(2),
                ": dimension ", at, " of the output would be ", call.out_size[axis]);
    shape.push_back(call.out_size[axis]);
  }
  const PostOpTensors tensors = bind_post_op_tensors(epilogue_, others, shape, 1, "conv");
  at::Tensor out = empty_channels_last(shape, epilogue_.quantize ? at::kByte : at::kFloat);
  if (out.numel() == 0) return out;

  const bool direct = weight_->packed.mode == kernels::ConvMode::kDirect;
  const int64_t apart = direct ? pixel_stride(x) : 0;
  const at::Tensor src = apart != 0 ? x : to_channels_last(x);
  call.src = src.const_data_ptr<uint8_t>();
  call.pixel_bytes = apart != 0 ? apart : g.in_channels;
  call.dst = out.data_ptr();
  call.epilogue = kernels::plan_epilogue(epilogue_, tensors.descriptors.data());
  const int64_t scratch_bytes = kernels::conv_scratch_bytes(call);
  const at::Tensor scratch = empty({scratch_bytes}, at::kByte);
  call.scratch = scratch.data_ptr<uint8_t>();
  kernels::conv(call, kernels::active_features(), torch_parallel());
  return out;
}

void register_packed_conv(torch::Library& m) {
  m.class_<PackedConv>("PackedConv")
      .def_pickle([](const c10::intrusive_ptr<PackedConv>& self) { return self->state(); },
                  [](const PackedConv::State& state) { return PackedConv::from_state(state); });
}

}  // namespace ipex_quant::runtime
