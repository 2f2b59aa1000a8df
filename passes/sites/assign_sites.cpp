/// \file
/// Implements assign_sites.
#include "passes/sites/assign_sites.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>

#include "passes/sites/inline_calls.h"
#include "passes/sites/op_table.h"

namespace ipex_quant::passes {

namespace prim = c10::prim;

const char* const kOriginalOpsAttribute = "_ipex_quant_ops";

namespace {

using StoredOp = std::tuple<std::string, std::string, std::int64_t>;

bool is_tensor(const Value* value) { return value->type()->isSubtypeOf(*c10::TensorType::get()); }

bool gives_tensor(const Node* node) {
  return std::any_of(node->outputs().begin(), node->outputs().end(), [](const Value* output) {
    return is_tensor(output) || output->type()->isSubtypeOf(*c10::ListType::ofTensors());
  });
}

/// The value that a module put into the tuple that it returns, and its caller took out again.
const Value* through_tuples(const Value* value) {
  while (value->node()->kind() == prim::TupleUnpack) {
    const Node* tuple = through_tuples(value->node()->input())->node();
    if (tuple->kind() != prim::TupleConstruct) break;
    value = tuple->input(value->offset());
  }
  return value;
}

/// Integers in a tensor that the graph holds.
bool is_integers(const Value* value) {
  const auto tensor = constant_tensor(value);
  if (tensor) return at::isIntegralType(tensor->scalar_type(), /*includeBool=*/true);
  const Node* node = value->node();
  return is_op(node, {"aten::to", "aten::detach", "aten::lift_fresh"}) &&
         is_integers(node->input(0));
}

/// Finds values that are computed from sizes and other numbers alone. The tracer wraps each size in
/// a tensor (prim::NumToTensor) to see what Python computes with it.
class ShapeArithmetic {
 public:
  bool contains(const Value* inner) {
    const Value* value = through_tuples(inner);
    const auto known = known_.find(value);
    if (known != known_.end()) {
      return known->second;
    }
    const bool result = compute(value->node());
    known_[value] = result;
    return result;
  }

 private:
  bool compute(const Node* node) {
    if (node->kind() == prim::NumToTensor) {
      return true;
    }
    if (!node->kind().is_aten()) {
      return false;
    }
    // Arithmetic on more than one integer is a call with a site, in calibration too.
    if (is_op(node, {"aten::min", "aten::max"}) && node->inputs().size() == 1 &&
        is_integers(node->input(0))) {
      return true;
    }
    bool has_tensor = false;
    for (const Value* input : node->inputs()) {
      if (!is_tensor(input)) {
        continue;
      }
      has_tensor = true;
      if (!contains(input) && !constant_number(input)) {
        return false;
      }
    }
    return has_tensor;
  }

  std::unordered_map<const Value*, bool> known_;
};

/// The tracer's _convolution, named as the user called it.
std::string display_name(const Node* node) {
  const std::string name = node->kind().toQualString();
  if (name != "aten::_convolution" && name != "aten::_convolution_mode") {
    return name;
  }
  const auto stride = constant_ints(node->input(3));
  if (!stride) {
    return name;
  }
  const Value* transposed = argument(node, "transposed");
  const bool is_transposed = transposed != nullptr && constant_bool(transposed).value_or(false);
  return (is_transposed ? "aten::conv_transpose" : "aten::conv") + std::to_string(stride->size()) +
         "d";
}

std::string overload_of(const Node* node) {
  const c10::FunctionSchema* schema = node->maybeSchema();
  return schema == nullptr ? std::string() : schema->overload_name();
}

bool is_within(const std::string& path, const std::vector<std::string>& modules) {
  return std::any_of(modules.begin(), modules.end(), [&path](const std::string& module) {
    return module.empty() || path == module ||
           path.compare(0, module.size() + 1, module + ".") == 0;
  });
}

class Assigner {
 public:
  Assigner(const std::shared_ptr<Graph>& graph, const PassContext& context)
      : graph_(graph), context_(context) {}

  const std::vector<StoredOp>& run() {
    visit(graph_->block(), /*nested=*/false);
    return ops_;
  }

 private:
  void visit(Block* block, bool nested) {
    for (Node* node : block->nodes()) {
      assign(node, nested);
      for (Block* inner : node->blocks()) {
        visit(inner, /*nested=*/true);
      }
    }
  }

  void assign(Node* node, bool nested) {
    const std::string module =
        node->hasAttribute(module_attr()) ? node->s(module_attr()) : std::string();
    const bool script = node->hasAttribute(script_attr());
    for (const auto attribute : {module_attr(), script_attr()}) {
      if (node->hasAttribute(attribute)) {
        node->removeAttribute(attribute);
      }
    }
    if (node->kind().is_prim() || !gives_tensor(node) || is_shape_arithmetic(node)) {
      return;
    }
    const std::string op = display_name(node);
    node->is_(ids_attr(), {static_cast<std::int64_t>(ops_.size())});
    ops_.emplace_back(module, op, counts_[{module, op}]++);

    const OpRow* row = find_row(node->kind().toQualString(), overload_of(node));
    if (nested || script || is_within(module, context_.opaque)) {
      set_reason(node, "inside scripted code");
    } else if (row != nullptr) {
      const std::int64_t n = counts_[{module, std::string("family ") + row->family}]++;
      node->s_(site_attr(), module + "/" + row->family + "/" + std::to_string(n));
    }
  }

  bool is_shape_arithmetic(const Node* node) {
    return std::any_of(node->outputs().begin(), node->outputs().end(),
                       [this](const Value* output) { return shapes_.contains(output); });
  }

  std::shared_ptr<Graph> graph_;
  const PassContext& context_;
  ShapeArithmetic shapes_;
  std::map<std::pair<std::string, std::string>, std::int64_t> counts_;
  std::vector<StoredOp> ops_;
};

void store(torch::jit::Module& module, const std::vector<StoredOp>& ops) {
  const c10::IValue value(ops);
  if (module.hasattr(kOriginalOpsAttribute)) {
    module.setattr(kOriginalOpsAttribute, value);
  } else {
    module.register_attribute(kOriginalOpsAttribute, value.type(), value);
  }
}

}  // namespace

bool assign_sites(const std::shared_ptr<Graph>& graph, PassContext& context) {
  Assigner assigner(graph, context);
  const auto& ops = assigner.run();
  if (context.module != nullptr) {
    store(*context.module, ops);
  }
  return !ops.empty();
}

std::vector<std::string> list_sites(const std::shared_ptr<Graph>& graph) {
  std::vector<std::string> sites;
  std::set<std::string> seen;
  for (const Node* node : all_nodes(graph)) {
    const auto site = site_of(node);
    if (site && seen.insert(*site).second) {
      sites.push_back(*site);
    }
  }
  return sites;
}

std::vector<OriginalOp> original_ops(const torch::jit::Module& module) {
  std::vector<OriginalOp> ops;
  if (!module.hasattr(kOriginalOpsAttribute)) {
    return ops;
  }
  for (const c10::IValue& stored : module.attr(kOriginalOpsAttribute).toListRef()) {
    const auto& fields = stored.toTupleRef().elements();
    ops.push_back({fields[0].toStringRef(), fields[1].toStringRef(), fields[2].toInt()});
  }
  return ops;
}

}  // namespace ipex_quant::passes
