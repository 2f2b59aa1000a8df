/// \file
/// One rule per family of ops: the symbolic shape of a result from those of the inputs.
#pragma once

#include <optional>

#include "passes/pass.h"
#include "passes/quant/shapes.h"

namespace ipex_quant::passes {

/// Shape of a value that an op makes, or nothing when no rule knows the op or its arguments.
std::optional<Shape> apply_shape_rule(Shapes& shapes, const Value* value);

}  // namespace ipex_quant::passes
