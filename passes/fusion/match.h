/// \file
/// Finds the places of a graph that look like a pattern.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "passes/pass.h"

namespace ipex_quant::passes {

/// One place of a graph that looks like a pattern.
struct PatternMatch {
  std::shared_ptr<Graph> pattern;
  std::unordered_map<const Value*, Value*> values;  ///< of the pattern -> of the graph
  std::unordered_map<const Node*, Node*> by_pattern;
  std::vector<Node*> nodes;  ///< matched nodes in program order, without constants

  /// The graph's value for the pattern's value of this name; nullptr when there is none.
  Value* value(const std::string& name) const;
  Value* input(std::size_t i) const { return values.at(pattern->inputs()[i]); }
  Value* output(std::size_t i) const { return values.at(pattern->outputs()[i]); }
};

/// All matches of a pattern in program order of their last outputs; they may overlap.
///
/// An input of the pattern stands for any value. A constant matches one of equal value: numbers by
/// value whatever their type, tensors by dtype, shape and elements. The operands of an add with
/// alpha 1 and of a mul may be swapped. Attributes and types are not compared.
std::vector<PatternMatch> find_matches(const std::shared_ptr<Graph>& graph,
                                       const std::shared_ptr<Graph>& pattern);

/// Why the nodes of a match cannot be replaced: another node reads a value inside, one of them is
/// changed in place, or an output is read too early. Empty when they can be.
std::string refuse_replacing(const PatternMatch& match,
                             const std::unordered_set<const Value*>& written);

/// Names of ops of the pattern that the graph does not have, for messages.
std::vector<std::string> missing_ops(const std::shared_ptr<Graph>& graph,
                                     const std::shared_ptr<Graph>& pattern);

}  // namespace ipex_quant::passes
