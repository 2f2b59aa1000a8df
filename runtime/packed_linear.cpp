// Packs the weight of a linear layer; saves and loads it in plain form.
#include "runtime/packed_linear.h"

#include <torch/custom_class.h>

#include <cstring>

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

constexpr int64_t kVersion = 1;

WeightPool<kernels::GemmWeight> g_pool;

kernels::GemmWeight pack(const at::Tensor& weight) {
  const int64_t n = weight.size(0);
  const int64_t k = weight.size(1);
  return kernels::pack_gemm_weight({weight.const_data_ptr<int8_t>(), 1, n, 1, k, n * k, k, k, 1});
}

/// Rows of x with zeros behind them up to the depth that the kernels read.
at::Tensor pad_rows(const at::Tensor& x, int64_t m, int64_t k, int64_t depth) {
  at::Tensor padded = empty({m, depth}, at::kByte);
  const uint8_t* src = x.const_data_ptr<uint8_t>();
  uint8_t* dst = padded.data_ptr<uint8_t>();
  torch_parallel()(m, std::max<int64_t>(1, 65536 / depth), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(dst + i * depth, src + i * k, static_cast<size_t>(k));
      std::memset(dst + i * depth + k, 0, static_cast<size_t>(depth - k));
    }
  });
  return padded;
}

}  // namespace

WeightPool<kernels::GemmWeight>::Handle pool_linear_weight(const at::Tensor& plain) {
  return g_pool.get(plain, "", pack);
}

PackedLinear::PackedLinear(const at::Tensor& weight, const at::Tensor& weight_scale,
                           const std::optional<at::Tensor>& bias, double x_scale,
                           int64_t x_zero_point, const std::string& epilogue)
    : x_scale_(x_scale), x_zero_point_(x_zero_point) {
  constexpr const char* kOp = "linear_prepack";
  check_weight(weight, 2, kOp);
  check_qparams(x_scale, x_zero_point, kOp);
  const int64_t n = weight.size(0);
  const int64_t k = weight.size(1);
  weight_scale_ = check_weight_scale(weight_scale, n, kOp);
  bias_ = check_bias(bias, n, kOp);
  epilogue_ = parse_epilogue(epilogue);
  const at::Tensor plain = weight.contiguous();
  check_no_overflow(plain.const_data_ptr<int8_t>(), n, k, x_zero_point, kOp);
  weight_ = pool_linear_weight(plain);

  const kernels::GemmWeight& packed = weight_->packed;
  const auto padded_n = static_cast<size_t>(packed.padded_n());
  start_.assign(padded_n, 0);
  scale_.assign(padded_n, 0.0f);
  padded_bias_.assign(padded_n, 0.0f);
  const std::vector<float> scale = output_scale(x_scale, weight_scale_, n);
  for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
    // Unsigned: the product may wrap around, and so may the sums; their end value does not.
    start_[i] = static_cast<int32_t>(0u - static_cast<uint32_t>(x_zero_point) *
                                              static_cast<uint32_t>(packed.sums[i]));
    scale_[i] = scale[i];
    if (bias_) padded_bias_[i] = bias_->const_data_ptr<float>()[i];
  }
}

PackedLinear::State PackedLinear::state() const {
  return {kVersion,
          weight_->plain,
          weight_scale_,
          bias_,
          x_scale_,
          x_zero_point_,
          format_epilogue(epilogue_)};
}

c10::intrusive_ptr<PackedLinear> PackedLinear::from_state(const State& state) {
  const auto& [version, weight, weight_scale, bias, x_scale, x_zero_point, epilogue] = state;
  check_state_version(version, kVersion, "PackedLinear");
  return c10::make_intrusive<PackedLinear>(weight, weight_scale, bias, x_scale, x_zero_point,
                                           epilogue);
}

at::Tensor PackedLinear::run(const at::Tensor& x, at::TensorList others) const {
  check_tensor(x, at::kByte, "linear", "x");
  const int64_t n = weight_->plain.size(0);
  const int64_t k = weight_->plain.size(1);
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) == k, "linear: x has shape ", x.sizes(),
              " but the weight takes ", k, " features in the last dimension");
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = n;
  const PostOpTensors tensors = bind_post_op_tensors(
      epilogue_, others, shape, static_cast<int64_t>(shape.size()) - 1, "linear");
  at::Tensor out = empty(shape, epilogue_.quantize ? at::kByte : at::kFloat);
  if (out.numel() == 0) return out;

  const kernels::GemmWeight& packed = weight_->packed;
  const int64_t m = out.numel() / n;
  at::Tensor rows = x.contiguous();
  if (packed.depth != k) rows = pad_rows(rows, m, k, packed.depth);
  const kernels::PlainRows plain{rows.const_data_ptr<uint8_t>(), packed.depth};
  kernels::GemmProblem problem;
  problem.weight = &packed;
  problem.m = m;
  problem.rows = kernels::plain_rows(plain);
  problem.start = start_.data();
  problem.scale = scale_.data();
  problem.bias = padded_bias_.data();
  problem.epilogue = kernels::plan_epilogue(epilogue_, tensors.descriptors.data());
  problem.dst = out.data_ptr();
  problem.dst_stride = n;
  kernels::gemm(problem, kernels::active_features(), torch_parallel());
  return out;
}

void register_packed_linear(torch::Library& m) {
  m.class_<PackedLinear>("PackedLinear")
      .def_pickle([](const c10::intrusive_ptr<PackedLinear>& self) { return self->state(); },
                  [](const PackedLinear::State& state) { return PackedLinear::from_state(state); });
}

}  // namespace ipex_quant::runtime
