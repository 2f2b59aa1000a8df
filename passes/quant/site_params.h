/// \file
/// Decisions and quantization parameters of the sites, as the recipe hands them to the passes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace ipex_quant::passes {

/// How one operand of a site is quantized.
struct OperandParams {
  std::string name;  ///< as in the op table: "input", "weight", "a", "tensors.0", ...
  std::string kind = "activation";  ///< "activation" or "weight"
  double scale = 0;                 ///< activation: of the whole tensor, > 0
  std::int64_t zero_point = 0;      ///< activation: 0..255
  at::Tensor scales;                ///< weight: float32, one per output channel, or one element
  std::int64_t axis = 0;            ///< weight: dimension of the output channels
  std::string mode = "static";      ///< "static", or "dynamic": quantized per call by the kernel
  bool per_tensor = false;          ///< "dynamic": one scale for all rows of a linear's input
  at::Tensor channel_factor;        ///< activation: x / factor is quantized, or undefined
};

/// What was decided for one site.
struct SiteParams {
  std::string site;   ///< "path/family/n"
  bool int8 = false;  ///< false: the op stays float, for `reason`
  std::string reason;
  std::vector<OperandParams> operands;  ///< empty when !int8
  at::Tensor bias_correction;           ///< float32 [out], added to the bias, or undefined

  /// Why the site is float. A person who edits a summary may leave the reason empty.
  std::string float_reason() const { return reason.empty() ? "kept float by the summary" : reason; }

  /// The operand of the given name, or nullptr.
  const OperandParams* operand(const std::string& name) const {
    for (const OperandParams& params : operands) {
      if (params.name == name) return &params;
    }
    return nullptr;
  }
};

}  // namespace ipex_quant::passes
