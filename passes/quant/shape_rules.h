/// \file
/// One rule per family of ops: the symbolic shape of a result from those of the inputs.
#pragma once

#include <optional>

#include "passes/pass.h"
#include "passes/quant/shapes.h"

namespace ipex_quant::passes {

/// Shape of a value that an op makes, or nothing when no rule knows the op or its arguments.
std::optional<Shape> apply_shape_rule(Shapes& shapes, const Value* value);

/// Result of an elementwise op on two tensors, when the sizes say it.
std::optional<Shape> broadcast(const Shape& a, const Shape& b);

/// The number that a size is, if it is one.
std::optional<std::int64_t> number_of(const std::string& dim);

}  // namespace ipex_quant::passes
