/// \file
/// Reads the arguments of any of torch's fake-quantize operators into one struct.
#pragma once

#include "passes/ir.h"

namespace ipex_quant::passes {

/// clamp(round(x / scale) + zero_point, low, high) back in float.
struct FakeQuant {
  Value* input = nullptr;
  Value* scale = nullptr;
  Value* zero_point = nullptr;
  std::int64_t low = 0;
  std::int64_t high = 0;
  std::optional<std::int64_t> axis;  ///< set when scale and zero point are per channel
  Value* observer_on = nullptr;      ///< of the fused form, which also updates its range
  Value* fake_quant_on = nullptr;    ///< of the forms that have a switch
};

/// The arguments, or nothing for another operator or bounds that are not constants.
std::optional<FakeQuant> read_fake_quant(const Node* node);

/// The one number of a constant: also of a tensor with one element.
std::optional<double> constant_element(const Value* value);

/// Codes low..high as torch's quint8 (0..255) or qint8 (-128..127); nothing when neither holds
/// them.
std::optional<at::ScalarType> dtype_of_range(std::int64_t low, std::int64_t high);

/// "iq_range" ints: the codes that a quantized constant may take, where they are fewer than 256.
c10::Symbol range_attr();

}  // namespace ipex_quant::passes
