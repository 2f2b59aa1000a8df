/// \file
/// Implements remove_casts.
#include "passes/normalize/remove_casts.h"

#include "passes/fusion/known_float.h"
#include "passes/ir.h"

namespace ipex_quant::passes {

namespace {

bool is_absent(const Node* node, const char* name) {
  const Value* value = argument(node, name);
  return value == nullptr || is_none(value);
}

bool keeps_float(const Node* node) {
  if (is_op(node, {"aten::type_as"})) {
    return is_known_float(node->input(0)) && is_known_float(node->input(1));
  }
  if (!is_op(node, {"aten::to"})) return false;
  const Value* dtype = argument(node, "dtype");
  const Value* copy = argument(node, "copy");
  if (dtype == nullptr || copy == nullptr) return false;
  return constant_int(dtype) == static_cast<std::int64_t>(at::kFloat) &&
         constant_bool(copy) == false && is_absent(node, "device") && is_absent(node, "layout") &&
         is_absent(node, "memory_format") && is_known_float(node->input(0));
}

}  // namespace

bool remove_casts(const std::shared_ptr<Graph>& graph) {
  bool changed = false;
  for_each_node(graph->block(), [&changed](Node* node) {
    if (keeps_float(node)) {
      replace_node(node, node->input(0));
      changed = true;
    }
  });
  return remove_dead(graph) || changed;
}

}  // namespace ipex_quant::passes
