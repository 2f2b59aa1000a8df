/// \file
/// The one list of operators that have sites, shared by the recorder, the passes and (by the
/// binding) Python.
#pragma once

#include <string>
#include <vector>

namespace ipex_quant::passes {

enum class OperandKind {
  kActivation,
  kWeight,
  kWeightList,  ///< a tensor list; its 2-D members are the weights "name.position"
  kTensorList   ///< a tensor list of activations "name.position"
};

/// One quantizable operand of an operator.
struct OperandRow {
  const char* name;
  int index;  ///< position among the operator's arguments
  OperandKind kind;
  int axis;             ///< output-channel axis of a weight; -1 for an activation
  int transposed_axis;  ///< the same when the operator is a transposed convolution
};

/// All operators of one family: their calls in a module are counted together.
struct OpRow {
  const char* family;
  /// Qualified names, in-place and alias forms included. "aten::mean.dim" stands for that overload
  /// only, "aten::add" for all overloads.
  std::vector<const char*> names;
  std::vector<OperandRow> operands;
};

/// The table. A name stands in one row only.
const std::vector<OpRow>& op_table();

/// Row of an operator, or nullptr when it has no sites.
const OpRow* find_row(const std::string& name, const std::string& overload);

/// "activation", "weight", "weight_list" or "tensor_list".
const char* kind_name(OperandKind kind);

/// Operators that the tracer does not record itself: it records what they call. Calls without a
/// tensor result are not recorded either; the recorder finds those by their schema.
bool is_looked_through(const std::string& name);

}  // namespace ipex_quant::passes
