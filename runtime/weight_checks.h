/// \file
/// Checks that packed classes make on weights, also on those from a saved file.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

namespace ipex_quant::runtime {

/// \throws c10::Error unless `weight` is an int8 CPU tensor of `dim` dimensions.
void check_weight(const at::Tensor& weight, int64_t dim, const char* op);

/// Scales of the output channels as contiguous float32.
/// \throws c10::Error unless there are 1 or `channels` of them, all finite and positive.
at::Tensor check_weight_scale(const at::Tensor& scale, int64_t channels, const char* op);

/// The bias as contiguous float32. \throws c10::Error unless it has `channels` elements.
std::optional<at::Tensor> check_bias(const std::optional<at::Tensor>& bias, int64_t channels,
                                     const char* op);

/// x_scale * weight_scale per channel, the product rounded to float once.
std::vector<float> output_scale(double x_scale, const at::Tensor& weight_scale, int64_t channels);

/// \param rows  int8 [channels, k] contiguous
/// \throws c10::Error when sum over k of (x - zero_point) * w could leave int32 for some uint8 x.
void check_no_overflow(const int8_t* rows, int64_t channels, int64_t k, int64_t zero_point,
                       const char* op);

/// \throws c10::Error unless a saved state has version `known`.
void check_state_version(int64_t version, int64_t known, const char* name);

}  // namespace ipex_quant::runtime
