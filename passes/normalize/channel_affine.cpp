/// \file
/// Implements read_batch_norm.
#include "passes/normalize/channel_affine.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

namespace ipex_quant::passes {

std::optional<ChannelAffine> read_batch_norm(const Node* node) {
  const auto mean = constant_tensor(node->input(3));
  const auto variance = constant_tensor(node->input(4));
  const auto training = constant_bool(node->input(5));
  const auto epsilon = constant_number(node->input(7));
  if (!mean || !variance || !epsilon || training.value_or(true)) {
    return std::nullopt;
  }
  const auto options = at::TensorOptions().dtype(at::kDouble);
  at::Tensor gamma = at::ones({mean->size(0)}, options);
  at::Tensor beta = at::zeros({mean->size(0)}, options);
  for (const auto& [index, tensor] : {std::make_pair(1, &gamma), std::make_pair(2, &beta)}) {
    if (is_none(node->input(index))) {
      continue;
    }
    const auto constant = constant_tensor(node->input(index));
    if (!constant) {
      return std::nullopt;
    }
    *tensor = constant->to(at::kDouble);
  }
  const at::Tensor factor = gamma / (variance->to(at::kDouble) + *epsilon).sqrt();
  return ChannelAffine{factor, beta - mean->to(at::kDouble) * factor};
}

}  // namespace ipex_quant::passes
