/// \file
/// A fusion of the user as data: what to find, what must hold, and what it becomes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "passes/fusion/fusion_log.h"
#include "passes/fusion/match.h"
#include "passes/pass.h"

namespace ipex_quant::passes {

/// Something that must hold for a match. It is named by the statement that is true then.
struct Guard {
  std::string statement;
  /// Why it does not hold; empty when it does.
  std::function<std::string(const PatternMatch&)> refuse;
};

/// What a match becomes.
enum class Becomes {
  kRewrite,      ///< the nodes of `rewrite`
  kPostOp,       ///< epilogue steps of the int8 kernel that makes the first input
  kElementwise,  ///< a table of 256 bytes, in the epilogue of the kernel before it where it can be
};

/// What the pattern is looked for in.
enum class On {
  kFloat,  ///< the normalized graph, before anything is quantized
  kInt8,   ///< the graph with its quantize and dequantize nodes, before the built-in fusions
};

/// A fusion of the user. Made by the functions below, which check it.
struct Fusion {
  std::string name;
  Becomes becomes = Becomes::kRewrite;
  On on = On::kFloat;
  std::shared_ptr<Graph> pattern;
  std::shared_ptr<Graph> rewrite;  ///< kRewrite only; inputs and outputs as those of the pattern
  std::string steps;               ///< kPostOp only; epilogue text (runtime/epilogue_text.h)
  std::vector<Guard> guards;
  FusionLog* log = nullptr;  ///< where the passes note what became of each match; may be null

  /// Number of ops in the pattern: larger ones are tried first.
  std::size_t size() const;
};

/// The graph of an IR text. `side` ("pattern", "rewrite") is for the message of a parse error.
std::shared_ptr<Graph> parse_fusion_ir(const std::string& name, const std::string& side,
                                       const std::string& text);

/// The graph of a traced function in the form that the model has when patterns are looked for: a
/// copy of the normalized module's graph without its module input, whose inputs get these names.
/// Every constant that is one of `numbers` becomes the input at that position; a number that does
/// not occur in the graph is an error when `all_occur`.
std::shared_ptr<Graph>
function_graph(const std::string& name, const torch::jit::Module& normalized,
               const std::vector<std::string>& inputs,
               const std::vector<std::pair<std::size_t, c10::IValue>>& numbers, bool all_occur);

/// Runs the passes of normalize that work on a graph alone, so that a text finds what they leave.
void normalize_pattern(const std::shared_ptr<Graph>& graph);

/// Replaces each match of `pattern` by `rewrite`.
/// \throws c10::Error that quotes the pattern: no op in it, other inputs or outputs in `rewrite`,
/// an operator that is not registered or takes other arguments, or a rewrite that holds the pattern
/// again.
Fusion rewrite_fusion(const std::string& name, std::shared_ptr<Graph> pattern,
                      std::shared_ptr<Graph> rewrite, On on, std::vector<Guard> guards);

/// Puts `steps` into the epilogue of the kernel that makes the pattern's first input. At most one
/// step reads a tensor (add_f32, mul_f32), which is the second input.
/// \throws c10::Error that quotes the pattern: unknown steps, or inputs that do not fit them.
Fusion post_op_fusion(const std::string& name, std::shared_ptr<Graph> pattern,
                      const std::string& steps, std::vector<Guard> guards);

/// Tabulates the pattern, a function of each element of its one input.
/// \throws c10::Error that quotes the pattern: it has more inputs or outputs.
Fusion elementwise_fusion(const std::string& name, std::shared_ptr<Graph> pattern,
                          std::vector<Guard> guards);

/// Throws when two fusions have one name.
void check_names(const std::vector<Fusion>& fusions);

}  // namespace ipex_quant::passes
