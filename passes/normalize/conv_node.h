/// \file
/// Reads the arguments of any convolution node into one struct.
#pragma once

#include "passes/ir.h"

namespace ipex_quant::passes {

/// The arguments of a convolution whose lists are constants. Lists have one entry per spatial
/// dimension.
struct ConvNode {
  Value* input = nullptr;
  Value* weight = nullptr;
  Value* bias = nullptr;  ///< may be None
  std::vector<std::int64_t> stride;
  std::vector<std::int64_t> padding;  ///< empty when padding_mode says it
  std::string padding_mode;           ///< "", "same" or "valid"
  std::vector<std::int64_t> dilation;
  std::vector<std::int64_t> output_padding;  ///< empty unless transposed
  std::int64_t groups = 1;
  bool transposed = false;

  std::size_t spatial_dims() const { return stride.size(); }
};

/// True for every operator that is a convolution in one form or another.
bool is_conv(const Node* node);
/// True for aten::conv1d/2d/3d and conv_transpose1d/2d/3d.
bool is_canonical_conv_op(const Node* node);
/// The arguments, or nothing when one of the lists is not constant.
std::optional<ConvNode> read_conv(const Node* node);
/// Inserts the canonical node at the insert point. padding_mode must be "".
Node* insert_conv(Graph& graph, const ConvNode& conv);

}  // namespace ipex_quant::passes
