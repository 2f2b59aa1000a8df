/// \file
/// Ops that hand values on unchanged: what may run on int8 data with the qparams of its input.
#pragma once

#include <optional>
#include <unordered_set>

#include "passes/pass.h"

namespace ipex_quant::passes {

/// How much of its input an op hands on.
enum class Moves {
  kAll,      ///< every element (reshape, transpose, pad with zero, ...)
  kSome,     ///< a part (slice, select, chunk, ...): its range may be smaller than the input's
  kMaximum,  ///< the largest of each window or dimension
};

/// One step upwards through an op that moves data.
struct Movement {
  Node* node;     ///< the op; for an element of a list, the op that made the list
  Value* input;   ///< the tensor it reads
  Value* output;  ///< what it makes: `node`'s output, or an output of a ListUnpack of it
  Moves moves;
};

/// The op that makes `value` by moving data, or nothing. A max_pool counts when its arguments are
/// constants, an adaptive one when nothing reads its indices, a pad when it adds zeros.
std::optional<Movement> movement_of(Value* value);

/// The same question asked of the op: the tensor input it moves, or nullptr.
Value* moved_input(const Node* node);

/// Names of all ops that hand int8 data on, for docs.
std::vector<std::string> moving_ops();

/// True for ops that read only the shape of their first input (aten::size, aten::dim, ...).
bool is_shape_query(const Node* node);

/// Users of the value that are not shape queries; a graph or block return counts as a user.
std::vector<torch::jit::Use> data_uses(Value* value);

/// All values that some op of the graph writes in place, or that may alias such a value.
std::unordered_set<const Value*> written_values(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
