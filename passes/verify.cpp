/// \file
/// Implements verify().
#include "passes/verify.h"

#include <sstream>

#include "passes/ir.h"

namespace ipex_quant::passes {

void verify(const std::shared_ptr<Graph>& graph, const std::string& after) {
  graph->lint();
  for_each_node(graph->block(), [&after](Node* node) {
    const std::string name_space = node->kind().ns().toUnqualString();
    if (name_space != "aten" && name_space != "ipex_quant") {
      return;
    }
    if (node->maybeOperator() != nullptr) {
      return;
    }
    std::ostringstream text;
    node->print(text, 0, nullptr, /*print_source_locations=*/true, /*print_attributes=*/false);
    TORCH_CHECK(false, "pass '", after,
                "' left a node that matches no schema of its operator: ", text.str());
  });
}

}  // namespace ipex_quant::passes
