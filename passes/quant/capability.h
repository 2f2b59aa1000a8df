/// \file
/// Asks the int8 kernels whether they can take a node, and on which of its operands.
#pragma once

#include <string>
#include <vector>

#include "passes/pass.h"

namespace ipex_quant::passes {

/// The kernel that may take a node.
enum class Kernel {
  kNone,
  kConv,  ///< all convolutions, transposed ones too
  kLinear,
  kMatmul,     ///< two activations
  kRecurrent,  ///< lstm and gru
  kEmbedding,
  kEmbeddingBag,
  kBinary,  ///< add, sub, mul of two tensors
  kCat,
  kStack,      ///< torch's own op on the int8 tensors, all with the qparams of the result
  kPool,       ///< average pools and mean
  kUnary,      ///< any function of one element: a table
  kBatchNorm,  ///< one that is not folded: a depthwise convolution of one tap
};

/// The kernel for the op of this name and number of tensor operands; says nothing on its arguments.
Kernel kernel_of(const Node* node);

/// Kernels that pay for quantizing their inputs. The others follow: they run in int8 when their
/// inputs are int8 anyway and their result is wanted in int8.
bool is_anchor(Kernel kernel);

/// Kernels that can take a float input and quantize its rows themselves.
bool quantizes_at_run_time(Kernel kernel);

/// Kernels that end in an epilogue of post-ops, not only in a quantize.
bool has_post_ops(Kernel kernel);

/// Why the kernel cannot take this node; empty when it can.
std::string refusal_of(const Node* node);

/// One tensor that a kernel reads in int8.
struct Operand {
  Node* reader;                    ///< the node, or the ListConstruct in front of it (cat)
  std::size_t index;               ///< input of `reader`
  std::vector<std::string> names;  ///< names it may have in SiteParams, best first
};

/// The activations that the node's kernel reads.
std::vector<Operand> activations_of(Node* node);

/// Weight and bias of conv and linear, the table of an embedding.
Value* weight_of(const Node* node);
/// Index of the bias among the inputs of conv and linear.
constexpr std::size_t kBiasIndex = 2;
/// Dimension of the output channels in the weight of conv, linear or embedding.
std::int64_t weight_axis(const Node* node);
bool is_transposed_conv(const Node* node);
/// Index of the weight list among the inputs of lstm and gru: theirs on packed sequences have the
/// batch sizes, too.
std::size_t recurrent_weights_index(const Node* node);

}  // namespace ipex_quant::passes
