/// \file
/// Arithmetic on sizes that are texts: numbers, or expressions over the sizes of values.
#pragma once

#include <optional>

#include "passes/quant/shapes.h"

namespace ipex_quant::passes {

/// The number that a size is, if it is one.
std::optional<std::int64_t> number_of(const std::string& dim);

/// (dim + add) / stride + 1, by which conv and pool compute sizes, in its simplest text.
std::string window(const std::string& dim, std::int64_t add, std::int64_t stride);

/// The product of one size or more.
std::string product(const std::vector<std::string>& dims);

/// Result of an elementwise op on two tensors, when the sizes say it. Two sizes of which none is
/// known give "broadcast(a,b)".
std::optional<Shape> broadcast(const Shape& a, const Shape& b);

/// The size that -1 stands for among `dims`, in a reshape of a tensor of the shape `from`.
std::optional<std::string> left_over(const Shape& from, std::vector<std::string> dims);

}  // namespace ipex_quant::passes
