/// \file
/// The rows of ops with int8 kernels: when one can be fused, and the int8 ops it becomes.
#pragma once

#include <string>
#include <vector>

#include "passes/pass.h"
#include "passes/quant/capability.h"

namespace ipex_quant::passes {

/// What an anchor becomes: the output `y`, and for an lstm or gru the states.
struct Fused {
  Value* output = nullptr;
  std::vector<Value*> more;  ///< further outputs, those of the anchor from 1 on
};

/// Why the node is not an anchor: an operand is float or the kernel refuses. Empty when it is one.
std::string refuse_anchor(Node* node);

/// Inserts the prepack and run ops of `node` at the insert point. `epilogue` is their epilogue,
/// `others` the tensors it reads, `quantize` the quantize that ends it or nullptr.
Fused emit_anchor(Graph& graph, Node* node, const std::string& epilogue,
                  const std::vector<Value*>& others, const Node* quantize);

/// A row, as docs show it.
struct AnchorRow {
  Kernel kernel;
  bool needs_quantize;
  const char* becomes;  ///< names of the operators
};
std::vector<AnchorRow> anchor_rows();

/// True for ops that exist in int8 only: they need a quantize behind them (cat, pools).
bool needs_quantize(const Node* node);

}  // namespace ipex_quant::passes
