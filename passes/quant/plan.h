/// \file
/// Decides which values of a graph are quantized, before anything is changed.
///
/// Anchors (conv, linear, matmul, lstm, gru) of int8 sites demand their activations in int8. A
/// demand is on the root of a value, above all ops that only move data: all demands on one root
/// share one scale. An op between int8 values (pool, cat, add, activation) follows when its inputs
/// can be had in int8 for nothing, that is made by an int8 kernel or demanded by an anchor, and its
/// result is demanded. An op that joins an anchor's epilogue (chain.h) needs no int8 on that edge.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <unordered_map>
#include <vector>

#include "passes/pass.h"
#include "passes/quant/site_params.h"

namespace ipex_quant::passes {

struct QParams {
  double scale = 1;
  std::int64_t zero_point = 0;
  bool operator==(const QParams& other) const {
    return scale == other.scale && zero_point == other.zero_point;
  }
};

/// An input of a node that is read through a quantize/dequantize pair.
struct QuantizedEdge {
  Node* reader;       ///< the op, or the ListConstruct of a cat
  std::size_t index;  ///< input of `reader`
  QParams qparams;
  at::Tensor factor;  ///< the input is divided by it first, per channel; or undefined
  Node* op;           ///< the op of the site
};

/// A value that is quantized where it is made: an int8 kernel makes it, all readers get the int8.
struct QuantizedValue {
  Value* value;
  QParams qparams;
};

struct Plan {
  std::vector<QuantizedValue> values;
  std::vector<QuantizedEdge> edges;
  std::vector<std::pair<Node*, const SiteParams*>> weights;  ///< anchors whose weight is quantized
  std::vector<Node*> norms;  ///< batch norms that become int8 convolutions of one tap
  std::vector<std::pair<Node*, std::string>> reasons;  ///< ops that stay float, and why
};

/// The node reads dequantized values: what becomes of it was decided before, by the traced graph or
/// by an earlier run of the passes.
bool reads_quantized(Node* node);

/// Makes the plan. Errors: an int8 site without qparams for an operand its kernel reads.
Plan make_plan(const std::shared_ptr<Graph>& graph, const std::vector<SiteParams>& sites);

}  // namespace ipex_quant::passes
