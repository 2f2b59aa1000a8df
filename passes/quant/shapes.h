/// \file
/// Symbolic tensor shapes: enough to know that a residual operand does not enlarge a result.
///
/// A frozen trace has no shapes and must run on any batch and image size, so sizes are expressions
/// over the sizes of values: two sizes are equal when their texts are.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Sizes of one tensor. Of unknown rank: `dims` are its last sizes, those before are `base`'s.
struct Shape {
  bool ranked = false;
  std::string base;               ///< unranked only: name of the value whose leading sizes it has
  std::vector<std::string> dims;  ///< each a number, or an expression such as "(%x.2-1)/2+1"

  /// Size by index; negative counts from the end.
  std::string dim(std::int64_t index) const;
  /// The same sizes, taken as a tensor of this rank.
  Shape with_rank(std::size_t rank) const;
  bool operator==(const Shape& other) const;
};

/// Shapes of the values of one graph, computed when asked for. Forget it when the graph changes.
class Shapes {
 public:
  const Shape& of(const Value* value);
  /// True when `other` broadcasts to the shape of `result` without enlarging it.
  bool fits(const Value* other, const Value* result);

  /// A size as text: a number, or an expression over the sizes of values.
  std::string int_text(const Value* value);
  /// The sizes of an int list; false when it is made in a way that is not known.
  bool list_text(const Value* list, std::vector<std::string>& dims);

 private:
  Shape infer(const Value* value);
  static Shape unknown(const Value* value);

  std::unordered_map<const Value*, Shape> known_;
};

}  // namespace ipex_quant::passes
