/// \file
/// What rescales and shifts each channel of a value, such as a batch norm in eval mode.
#pragma once

#include <ATen/core/Tensor.h>

#include "passes/ir.h"

namespace ipex_quant::passes {

/// y = x * factor + shift per channel, in double.
struct ChannelAffine {
  at::Tensor factor;
  at::Tensor shift;
};

/// The affine form of a batch_norm, or nothing when it is not constant or in training form.
std::optional<ChannelAffine> read_batch_norm(const Node* norm);

}  // namespace ipex_quant::passes
