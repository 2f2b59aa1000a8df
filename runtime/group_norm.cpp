// The operator group_norm: with an epilogue, channels innermost.
#include "kernels/norm/group_norm.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <cmath>

#include "runtime/epilogue_text.h"
#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/threading.h"

namespace ipex_quant::runtime {
namespace {

/// The weight or bias, contiguous.
at::Tensor check_affine(const at::Tensor& tensor, int64_t channels, const char* name) {
  check_tensor(tensor, at::kFloat, "group_norm", name);
  TORCH_CHECK(tensor.dim() == 1 && tensor.size(0) == channels, "group_norm: ", name,
              " must have shape [", channels, "], a number per channel, got ", tensor.sizes());
  return tensor.contiguous();
}

at::Tensor group_norm(const at::Tensor& x, int64_t groups, const std::optional<at::Tensor>& weight,
                      const std::optional<at::Tensor>& bias, double eps,
                      const std::string& epilogue) {
  check_tensor(x, at::kFloat, "group_norm", "x");
  TORCH_CHECK(x.dim() >= 2, "group_norm: x must have 2 dimensions or more, [N, C, ...], got ",
              x.sizes());
  const int64_t channels = x.size(1);
  if (x.dim() < 3 || x.dim() > 5) {  // no layout has its channels innermost
    const int64_t pixels = c10::multiply_integers(x.sizes().slice(2));
    return group_norm(x.reshape({x.size(0), channels, pixels}), groups, weight, bias, eps, epilogue)
        .reshape(x.sizes());
  }
  const int64_t parts = groups == -1 ? channels : groups;
  TORCH_CHECK(parts >= 1 && channels % parts == 0, "group_norm: groups must divide the ", channels,
              " channels or be -1, one for each, got ", groups);
  TORCH_CHECK(std::isfinite(eps) && eps >= 0,
              "group_norm: eps must be finite and not negative, got ", eps);
  const kernels::Epilogue chain = parse_epilogue(epilogue);
  TORCH_CHECK(tensor_count(chain) == 0, "group_norm: the epilogue '", epilogue,
              "' reads tensors, which this operator does not take");
  const at::Tensor w = weight ? check_affine(*weight, channels, "weight") : at::ones({channels});
  const at::Tensor b = bias ? check_affine(*bias, channels, "bias") : at::zeros({channels});
  at::Tensor out = empty_channels_last(x.sizes(), chain.quantize ? at::kByte : at::kFloat);
  if (x.numel() == 0) return out;
  const at::Tensor rows = to_channels_last(x);
  kernels::group_norm({rows.const_data_ptr<float>(), w.const_data_ptr<float>(),
                       b.const_data_ptr<float>(), x.size(0), x.numel() / (x.size(0) * channels),
                       channels, parts, static_cast<float>(eps), kernels::plan_epilogue(chain),
                       out.mutable_data_ptr()},
                      kernels::active_features(), torch_parallel());
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(ipex_quant, CPU, m) { m.impl("group_norm", &group_norm); }

}  // namespace ipex_quant::runtime
