// Checks that packed classes make on weights, also on those from a saved file.
#include "runtime/weight_checks.h"

#include <cmath>
#include <limits>

#include "runtime/layout.h"

namespace ipex_quant::runtime {

void check_weight(const at::Tensor& weight, int64_t dim, const char* op) {
  check_tensor(weight, at::kChar, op, "weight");
  TORCH_CHECK(weight.dim() == dim, op, ": weight must have ", dim, " dimensions, got shape ",
              weight.sizes());
}

at::Tensor check_weight_scale(const at::Tensor& scale, int64_t channels, const char* op) {
  check_tensor(scale, at::kFloat, op, "weight_scale");
  TORCH_CHECK(scale.numel() == 1 || scale.numel() == channels, op, ": weight_scale has ",
              scale.numel(), " elements; expected 1 or one per output channel, ", channels);
  const at::Tensor flat = scale.contiguous();
  const float* data = flat.const_data_ptr<float>();
  for (int64_t i = 0; i < flat.numel(); ++i) {
    TORCH_CHECK(std::isfinite(data[i]) && data[i] > 0, op, ": weight_scale of output channel ", i,
                " must be finite and positive, got ", data[i]);
  }
  return flat;
}

std::optional<at::Tensor> check_bias(const std::optional<at::Tensor>& bias, int64_t channels,
                                     const char* op) {
  if (!bias || !bias->defined()) return std::nullopt;
  check_tensor(*bias, at::kFloat, op, "bias");
  TORCH_CHECK(bias->dim() == 1 && bias->numel() == channels, op, ": bias has shape ", bias->sizes(),
              "; expected one element per output channel, ", channels);
  return bias->contiguous();
}

std::vector<float> output_scale(double x_scale, const at::Tensor& weight_scale, int64_t channels) {
  const float* w = weight_scale.const_data_ptr<float>();
  std::vector<float> scale(static_cast<size_t>(channels));
  for (int64_t i = 0; i < channels; ++i) {
    scale[static_cast<size_t>(i)] =
        static_cast<float>(x_scale * static_cast<double>(w[weight_scale.numel() == 1 ? 0 : i]));
  }
  return scale;
}

void check_no_overflow(const int8_t* rows, int64_t channels, int64_t k, int64_t zero_point,
                       const char* op) {
  if (k <= std::numeric_limits<int32_t>::max() / (255 * 128)) return;
  for (int64_t i = 0; i < channels; ++i) {
    int64_t positive = 0;
    int64_t negative = 0;
    for (int64_t j = 0; j < k; ++j) {
      const int64_t w = rows[i * k + j];
      (w > 0 ? positive : negative) += w;
    }
    const int64_t above = 255 - zero_point;
    const int64_t highest = positive * above - negative * zero_point;
    const int64_t lowest = negative * above - positive * zero_point;
    TORCH_CHECK(highest <= std::numeric_limits<int32_t>::max() &&
                    lowest >= std::numeric_limits<int32_t>::min(),
                op, ": the sums of output channel ", i, " over ", k, " inputs could leave int32 (",
                lowest, "..", highest, "); keep this layer float");
  }
}

void check_state_version(int64_t version, int64_t known, const char* name) {
  TORCH_CHECK(version == known, name, ": the file was saved with state version ", version,
              " but this ipex_quant reads version ", known, "; install a matching ipex_quant");
}

}  // namespace ipex_quant::runtime
