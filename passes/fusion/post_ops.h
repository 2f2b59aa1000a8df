/// \file
/// Ops that an int8 kernel does on its float result before it stores it: the rows of epilogue
/// steps.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "passes/pass.h"
#include "passes/quant/shapes.h"

namespace ipex_quant::passes {

/// One graph node written as epilogue steps. At most one of them reads a tensor.
struct PostOp {
  enum class Reads { kNothing, kAddend, kFactor, kMask, kSlopes };

  std::vector<std::string> before;  ///< steps in front of the one that reads a tensor
  Reads reads = Reads::kNothing;
  std::size_t other = 0;    ///< input of the node that it reads
  std::string mask_step;    ///< the step that reads a mask
  at::Tensor slopes;        ///< read by prelu in place of an input: broadcasts to the result
  Value* ranked = nullptr;  ///< what tells at run time where slopes [C] stand, or null: they fit
  std::vector<std::string> after;

  /// Number of steps.
  std::size_t size() const;
};

/// The node as steps on `result`, one of its inputs; nothing, and why, when no step does the same.
std::optional<PostOp> post_op_of(Node* node, const Value* result, Shapes& shapes,
                                 std::string* refusal);

/// Steps of `node` as text. A tensor that is made by dequantize is read as u8 and becomes its int8
/// source in `others`.
void append_steps(const PostOp& post_op, const Node* node, std::vector<std::string>& steps,
                  std::vector<Value*>& others);

/// "quantize(0.5,128)"
std::string quantize_step(double scale, std::int64_t zero_point);
/// "table(00ff...)" of a contiguous uint8 [256].
std::string table_step(const at::Tensor& table);
/// Steps joined by "|".
std::string epilogue_text(const std::vector<std::string>& steps);

/// All rows: the op, and the steps that it becomes. For docs and tests.
std::vector<std::pair<std::string, std::string>> post_op_rows();

}  // namespace ipex_quant::passes
