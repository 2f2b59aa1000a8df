// Implements list_fusions.
#include "passes/fusion/list_fusions.h"

#include "passes/fusion/anchors.h"
#include "passes/fusion/post_ops.h"
#include "passes/quant/capability.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

std::string ends_in(const AnchorRow& row) {
  if (has_post_ops(row.kernel)) return "post-ops, then quantize, then a table";
  return row.needs_quantize ? "quantize" : "quantize or nothing";
}

bool is_users(const std::string& op) { return op == "ipex_quant::function"; }

}  // namespace

std::vector<ListedFusion> list_fusions() {
  std::vector<ListedFusion> listed;
  const auto ops = kernel_ops();
  for (const AnchorRow& row : anchor_rows()) {
    for (const auto& [op, kernel] : ops) {
      if (kernel == row.kernel) listed.push_back({"kernel", op, row.becomes, ends_in(row)});
    }
  }
  for (const auto& [op, steps] : post_op_rows()) {
    if (!is_users(op)) listed.push_back({"post-op", op, steps, ""});
  }
  for (const auto& [op, kernel] : ops) {
    if (kernel == Kernel::kUnary && !is_users(op)) listed.push_back({"table", op, "lut", ""});
  }
  for (const std::string& op : moving_ops()) listed.push_back({"moves", op, "", ""});
  return listed;
}

}  // namespace ipex_quant::passes
