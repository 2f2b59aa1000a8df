/// \file
/// What a pass is: a function on a graph, the properties it needs and gives, and the context of a
/// run.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ipex_quant::passes {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

struct SiteParams;  // passes/quant/params.h
struct Fusion;      // passes/fusion/fusion.h

/// Facts about a graph. A pipeline row lists which must hold before it (needs) and hold after it
/// (gives).
enum Property : std::uint32_t {
  kNone = 0,
  kInlined = 1u << 0,           ///< no calls left; every node knows its module path
  kSites = 1u << 1,             ///< iq_site and iq_ids are on the nodes
  kFrozen = 1u << 2,            ///< weights are constants
  kFunctional = 1u << 3,        ///< no removable in-place op is left
  kCanonical = 1u << 4,         ///< conv and linear have one form each
  kDecomposed = 1u << 5,        ///< attention and fused transformer ops are plain ops
  kBatchNormFolded = 1u << 6,   ///< batch_norm after conv/linear is in the weights
  kQuantized = 1u << 7,         ///< quantize/dequantize pairs are in the graph
  kUniqueDequantize = 1u << 8,  ///< each use of an int8 value in float has its own dequantize
  kPropagated = 1u << 9,        ///< pairs are moved and cancelled across data movement
  kFused = 1u << 10,            ///< int8 operators stand in the graph, weights not yet packed
  kBound = 1u << 11,            ///< weights are packed constants
};
using Properties = std::uint32_t;

/// What a run hands to its passes beside the graph. Only the pointers that a pass names in its
/// header must be set.
struct PassContext {
  torch::jit::Module* module = nullptr;            ///< owner of the graph (inline-calls, freeze)
  std::vector<std::string> opaque;                 ///< module paths whose ops are no sites
  std::vector<std::string> preserved_attrs;        ///< attributes and methods that freezing keeps
  const std::vector<SiteParams>* sites = nullptr;  ///< decisions and qparams (insert-quant-dequant)
  const std::vector<Fusion>* fusions = nullptr;    ///< fusions of the user, tried first (fuse)
};

/// One row of the pipeline table. `run` returns true when it changed the graph.
struct Pass {
  const char* name;
  bool (*run)(const std::shared_ptr<Graph>& graph, PassContext& context);
  Properties needs;
  Properties gives;
};

/// Adapts a pass that needs nothing but the graph to the signature of a row.
template <bool (*kRun)(const std::shared_ptr<Graph>&)>
bool plain(const std::shared_ptr<Graph>& graph, PassContext& /*context*/) {
  return kRun(graph);
}

}  // namespace ipex_quant::passes
