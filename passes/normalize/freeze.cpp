/// \file
/// Implements the freeze pass.
#include "passes/normalize/freeze.h"

#include <torch/csrc/jit/passes/freeze_module.h>

#include "passes/sites/assign_sites.h"

namespace ipex_quant::passes {

namespace {

bool reads_attributes(const std::shared_ptr<Graph>& graph) {
  for (const Node* node : all_nodes(graph)) {
    if (node->kind() == c10::prim::GetAttr) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool freeze(const std::shared_ptr<Graph>& graph, PassContext& context) {
  if (context.module == nullptr) {
    TORCH_CHECK(!reads_attributes(graph),
                "the graph reads attributes, so it can only be frozen with its module");
    return false;
  }
  std::vector<std::string> preserved = context.preserved_attrs;
  if (context.module->hasattr(kOriginalOpsAttribute)) {
    preserved.emplace_back(kOriginalOpsAttribute);
  }
  torch::jit::freeze_module_inplace(context.module, preserved);
  TORCH_CHECK(context.module->get_method("forward").graph() == graph,
              "freezing replaced the graph of forward");
  return true;
}

}  // namespace ipex_quant::passes
