// Packs the weight of a dynamic linear, saves it in plain form, and runs it.
#include "runtime/packed_dynamic_linear.h"

#include <torch/custom_class.h>

#include "kernels/isa.h"
#include "runtime/epilogue_text.h"
#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/packed_linear.h"
#include "runtime/post_op_tensors.h"
#include "runtime/register_ops.h"
#include "runtime/threading.h"
#include "runtime/weight_checks.h"

namespace ipex_quant::runtime {
namespace {

constexpr int64_t kVersion = 1;
constexpr int64_t kMaxFeatures = 65536;  // keeps int32 sums of u8 * s8 exact for any zero point

}  // namespace

PackedDynamicLinear::PackedDynamicLinear(const at::Tensor& weight, const at::Tensor& weight_scale,
                                         const std::optional<at::Tensor>& bias, bool per_row,
                                         const std::string& epilogue)
    : per_row_(per_row) {
  constexpr const char* kOp = "linear_dynamic_prepack";
  check_weight(weight, 2, kOp);
  const int64_t n = weight.size(0);
  const int64_t k = weight.size(1);
  TORCH_CHECK(k >= 1 && k <= kMaxFeatures, kOp, ": the weight must have 1 to ", kMaxFeatures,
              " input features, got shape ", weight.sizes());
  weight_scale_ = check_weight_scale(weight_scale, n, kOp);
  bias_ = check_bias(bias, n, kOp);
  epilogue_ = parse_epilogue(epilogue);
  weight_ = pool_linear_weight(weight.contiguous());

  const auto padded_n = static_cast<size_t>(weight_->packed.padded_n());
  scale_.assign(padded_n, 0.0f);
  padded_bias_.assign(padded_n, 0.0f);
  const float* scale = weight_scale_.const_data_ptr<float>();
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(i);
    scale_[at] = scale[weight_scale_.numel() == 1 ? 0 : i];
    if (bias_) padded_bias_[at] = bias_->const_data_ptr<float>()[i];
  }
}

PackedDynamicLinear::State PackedDynamicLinear::state() const {
  return {kVersion, weight_->plain, weight_scale_, bias_, per_row_, format_epilogue(epilogue_)};
}

c10::intrusive_ptr<PackedDynamicLinear> PackedDynamicLinear::from_state(const State& state) {
  const auto& [version, weight, weight_scale, bias, per_row, epilogue] = state;
  check_state_version(version, kVersion, "PackedDynamicLinear");
  return c10::make_intrusive<PackedDynamicLinear>(weight, weight_scale, bias, per_row, epilogue);
}

at::Tensor PackedDynamicLinear::run(const at::Tensor& x, at::TensorList others) const {
  constexpr const char* kOp = "linear_dynamic";
  check_tensor(x, at::kFloat, kOp, "x");
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) == in_features(), kOp, ": x has shape ", x.sizes(),
              " but the weight takes ", in_features(), " features in the last dimension");
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out_features();
  const PostOpTensors tensors =
      bind_post_op_tensors(epilogue_, others, shape, static_cast<int64_t>(shape.size()) - 1, kOp);
  at::Tensor out = empty(shape, epilogue_.quantize ? at::kByte : at::kFloat);
  if (out.numel() == 0) return out;

  const at::Tensor rows = x.contiguous();
  kernels::DynamicLinearArgs args;
  args.weight = &weight_->packed;
  args.weight_scale = scale_.data();
  args.bias = padded_bias_.data();
  args.x = rows.const_data_ptr<float>();
  args.m = out.numel() / out_features();
  args.k = in_features();
  args.range = per_row_ ? kernels::DynamicRange::kRow : kernels::DynamicRange::kTensor;
  args.epilogue = kernels::plan_epilogue(epilogue_, tensors.descriptors.data());
  args.dst = out.data_ptr();
  const at::Tensor workspace =
      empty({kernels::dynamic_linear_workspace(args.m, args.k)}, at::kByte);
  kernels::dynamic_linear(args, workspace.mutable_data_ptr<uint8_t>(), kernels::active_features(),
                          torch_parallel());
  return out;
}

void register_packed_dynamic_linear(torch::Library& m) {
  m.class_<PackedDynamicLinear>("PackedDynamicLinear")
      .def_pickle([](const c10::intrusive_ptr<PackedDynamicLinear>& self) { return self->state(); },
                  [](const PackedDynamicLinear::State& state) {
                    return PackedDynamicLinear::from_state(state);
                  });
}

}  // namespace ipex_quant::runtime
