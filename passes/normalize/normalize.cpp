/// \file
/// Implements normalize(): checks the module, copies it and runs the pipeline.
#include "passes/normalize/normalize.h"

#include <algorithm>

#include "passes/ir.h"
#include "passes/pipeline.h"
#include "passes/sites/assign_sites.h"

namespace ipex_quant::passes {

namespace {

/// True when the node was compiled from Python source. The tracer gives a node the text of its
/// whole call stack as source; the compiler gives it a part of the text of a function. Both survive
/// saving.
bool is_compiled(const Node* node) {
  torch::jit::SourceRange range = node->sourceRange();
  if (const auto original = range.findSourceRangeThatGenerated()) {
    range = *original;
  }
  const auto& source = range.source();
  if (!source || !source->filename() || source->filename()->rfind("code/", 0) == 0) {
    return false;  // no source, or the code of a saved file whose debug records were stripped
  }
  return range.size() != 0 && range.size() < source->size();
}

/// True when the root's own forward was scripted. (A frozen module has the code of its scripted
/// submodules inlined; it has no submodules left and is let through.)
bool looks_scripted(const torch::jit::Module& module) {
  if (module.children().size() == 0) {
    return false;
  }
  const auto graph = module.get_method("forward").graph();
  return std::any_of(graph->nodes().begin(), graph->nodes().end(), is_compiled);
}

void check_module(const torch::jit::Module& module) {
  TORCH_CHECK(module.find_method("forward").has_value(), "the module has no method 'forward'");
  TORCH_CHECK(!module.hasattr("training") || !module.is_training(),
              "the module is in training mode; call .eval() before tracing it");
  TORCH_CHECK(!looks_scripted(module),
              "the module was scripted, expected a traced one; use torch.jit.trace");
}

}  // namespace

Normalized normalize(const torch::jit::Module& module, const std::vector<std::string>& opaque,
                     const std::vector<std::string>& preserved_attrs) {
  check_module(module);
  // Shares the tensors: freezing makes constants of most, which live as long as the compilation
  // unit does.
  torch::jit::Module copy = module.clone(/*inplace=*/true);
  PassContext context;
  context.module = &copy;
  context.opaque = opaque;
  context.preserved_attrs = preserved_attrs;

  const auto graph = copy.get_method("forward").graph();
  const auto rows = normalize_passes();
  // The sites are listed as soon as they are known: later passes may remove some.
  std::vector<Pass> until_sites;
  std::vector<Pass> rest;
  bool known = false;
  for (const Pass& row : rows) {
    (known ? rest : until_sites).push_back(row);
    known = known || (row.gives & kSites) != 0;
  }
  const Properties have = run_pipeline(until_sites, graph, context);
  Normalized result{copy, list_sites(graph)};
  run_pipeline(rest, graph, context, have);
  result.module = copy.clone();  // attributes that are left are changed by forward: not the user's
  return result;
}

}  // namespace ipex_quant::passes
