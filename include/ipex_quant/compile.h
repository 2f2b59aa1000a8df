/// \file
/// Quantizes a calibrated trace in C++, to the same bits as `ipex_quant.jit.quantize` in Python.
///
/// Link `ipex_quant::passes`. See docs/cpp-serving.md.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

#include "ipex_quant/export.h"

namespace ipex_quant {

/// What a fusion's pattern is looked for in.
enum class FusionOn {
  kFloat,  ///< the normalized graph, before anything is quantized
  kInt8,   ///< the graph with its ipex_quant::quantize and dequantize nodes
};

/// A rewrite of the graph. Pattern and rewrite are IR texts with the same inputs and outputs, in
/// the same order, as docs/adding-a-fusion.md describes them.
struct Fusion {
  std::string name;
  std::string pattern;
  std::string rewrite;
  FusionOn on = FusionOn::kFloat;
};

struct QuantizeOptions {
  /// Tried before the built-in ones, in order. The operators they call must be registered.
  std::vector<Fusion> fusions;
  /// Attributes and methods to keep besides `forward`.
  std::vector<std::string> preserved_attrs;
  /// JSON text of a file that save_qconf_summary() wrote, in place of what the trace carries.
  std::string summary;
};

/// Compiles a traced module to int8.
///
/// `traced` is `torch.jit.trace` of a calibrated prepared model, in eval mode, usually loaded with
/// torch::jit::load; it carries the summary of its calibration. It is not changed.
/// Returns a new frozen module, steady from its first call, to be run or saved.
/// \throws c10::Error: the module is in training mode, scripted or without summary; the summary is
///     corrupted or of another model; a fusion is not valid. The text says which and what to do.
IPEX_QUANT_API torch::jit::Module quantize(const torch::jit::Module& traced,
                                           const QuantizeOptions& options = {});

/// Saves a module to a file, which is complete or untouched whatever happens, as
/// `ipex_quant.jit.save` does in Python.
///
/// `module.save(path)` writes the same in place: a full disk or a program that ends meanwhile
/// leaves part of a file where the old one was. A link stays one, the file behind it is written;
/// pipes and devices take the bytes as they are.
/// \throws c10::Error: the module has what cannot be saved, or the file cannot be written. The text
///     says which file and why.
IPEX_QUANT_API void save(const torch::jit::Module& module, const std::string& path);

/// What became of each operator of the model, as JSON: `ipex_quant.report` shows the same.
/// \throws c10::Error: `quantized` is no module that quantize() made.
IPEX_QUANT_API std::string report(const torch::jit::Module& quantized);

}  // namespace ipex_quant
