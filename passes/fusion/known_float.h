/// \file
/// Which tensors are certainly float32, though a trace has no dtypes.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// True when the value is made by an op that yields float32, is read by one that takes nothing
/// else, or is made by moving or combining such values.
bool is_known_float(const Value* value);

}  // namespace ipex_quant::passes
