/// \file
/// The functions that a portable file brings along, in TorchScript, for what torch has no operator
/// for: rounding with a scale per row that is found at run time.
///
/// They are calls in the graph, not inlined, so that a reader finds them again (read_portable.h).
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Calls `round_rows`, `round_tensor`, `lstm`, `lstm_packed`, `gru` or `gru_packed` at the insert
/// point and returns its result.
///
/// round_rows(x, levels): each row of x rounded to `levels` steps between its extremes;
/// round_tensor(x, levels): all of x between those of the tensor.
/// The others take the arguments of aten::lstm or aten::gru of the same meaning, in the same order,
/// and `rounds_input`: whether the rows of the input are rounded, too, or come rounded.
Value* call_portable(Graph& graph, const char* function, const std::vector<Value*>& inputs);

/// The name of the function that a node calls, one of those above, or "".
std::string portable_function(const Node* node);

}  // namespace ipex_quant::passes
