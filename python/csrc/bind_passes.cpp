// Binds the pass runner: normalize, instrument, and passes on single graphs for tests and tools.
#include <ATen/ops/zeros_like.h>
#include <pybind11/stl.h>
#include <torch/csrc/jit/ir/irparser.h>
#include <torch/csrc/jit/python/pybind_utils.h>

#include <regex>

#include "passes/ir.h"
#include "passes/normalize/normalize.h"
#include "passes/pipeline.h"
#include "passes/record/mark.h"
#include "passes/sites/assign_sites.h"
#include "python/csrc/binding.h"

namespace ipex_quant::python {

namespace {

using torch::jit::Graph;
using torch::jit::Node;

py::tuple normalize(const torch::jit::Module& module, const std::vector<std::string>& opaque,
                    const std::vector<std::string>& preserved_attrs) {
  auto result = passes::normalize(module, opaque, preserved_attrs);
  return py::make_tuple(result.module, result.sites);
}

bool run_pass(const std::string& name, const std::shared_ptr<Graph>& graph,
              const std::vector<std::string>& opaque) {
  passes::PassContext context;
  context.opaque = opaque;
  return passes::run_pass(name, graph, context);
}

std::vector<std::string> pass_names() {
  std::vector<std::string> names;
  for (const passes::Pass& pass : passes::pipeline()) {
    names.emplace_back(pass.name);
  }
  return names;
}

py::list pass_table() {
  py::list rows;
  for (const passes::Pass& pass : passes::pipeline()) {
    rows.append(py::make_tuple(pass.name, passes::property_names(pass.needs),
                               passes::property_names(pass.gives)));
  }
  return rows;
}

/// The parser reads [1, 2] as an IValue; our attribute iq_ids is ints.
void restore_int_lists(Node* node) {
  for (const c10::Symbol name : node->attributeNames()) {
    if (node->kind() != c10::prim::Constant &&
        node->kindOf(name) == torch::jit::AttributeKind::ival && node->ival(name).isIntList()) {
      node->is_(name, node->ival(name).toIntVector());
    }
  }
}

/// IR text has no tensor values: the tensors of `constants` are put in for its tensor constants, in
/// order, whatever type the text gives them. Without a list they are zeros of the type in the text.
std::shared_ptr<Graph> parse_ir(std::string text,
                                const std::optional<std::vector<at::Tensor>>& constants) {
  if (constants) {
    static const std::regex kTyped(R"(: [A-Za-z]+(\([^)]*\))? = prim::Constant\[value=<Tensor>\])");
    text = std::regex_replace(
        text, kTyped,
        ": Float(1, strides=[1], requires_grad=0, device=cpu) = prim::Constant[value=<Tensor>]");
  }
  auto graph = std::make_shared<Graph>();
  std::unordered_map<std::string, torch::jit::Value*> values;
  torch::jit::parseIR(text, graph.get(), values, /*parse_tensor_constants=*/true);
  std::size_t next = 0;
  for (Node* node : passes::all_nodes(graph)) {
    restore_int_lists(node);
    const auto value = c10::attr::value;
    if (node->kind() != c10::prim::Constant || !node->hasAttribute(value) ||
        node->kindOf(value) != torch::jit::AttributeKind::t) {
      continue;
    }
    if (!constants) {
      node->t_(value, at::zeros_like(node->t(value)));
      continue;
    }
    TORCH_CHECK(next < constants->size(), "parse_ir: the graph has more than ", constants->size(),
                " tensor constants; give one tensor for each");
    node->t_(value, constants->at(next));
    node->output()->inferTypeFrom(constants->at(next++));
  }
  TORCH_CHECK(!constants || next == constants->size(), "parse_ir: got ", constants->size(),
              " tensors for ", next, " tensor constants");
  return graph;
}

py::list original_ops(const torch::jit::Module& module) {
  py::list ops;
  for (const passes::OriginalOp& op : passes::original_ops(module)) {
    ops.append(py::make_tuple(op.module, op.op, op.index));
  }
  return ops;
}

}  // namespace

void bind_passes(py::module_& m) {
  m.def(
      "normalize", &normalize, py::arg("module"), py::arg("opaque") = std::vector<std::string>(),
      py::arg("preserved_attrs") = std::vector<std::string>(),
      "Frozen copy of a traced module in canonical form, and the keys of all its sites in order.");
  m.def("instrument", &passes::instrument, py::arg("module"),
        "Copy of a normalized module with a calibration mark before each site.");
  m.def("run_pass", &run_pass, py::arg("name"), py::arg("graph"),
        py::arg("opaque") = std::vector<std::string>(),
        "Run one pass on a graph; true when it changed it.");
  m.def("pass_names", &pass_names, "Names of all passes in order.");
  m.def("pass_table", &pass_table, "(name, needs, gives) of all passes in order.");
  m.def("parse_ir", &parse_ir, py::arg("text"), py::arg("constants") = py::none(),
        "Graph of an IR text; the tensors are the values of its tensor constants, in order (else "
        "zeros).");
  m.def("canonical", &passes::canonical_text, py::arg("graph"),
        "Text of a graph with renumbered values, without source ranges and addresses.");
  m.def("list_sites", &passes::list_sites, py::arg("graph"), "Site keys of a graph in order.");
  m.def("original_ops", &original_ops, py::arg("module"),
        "(module path, op, index) of each compute op before normalization.");
}

}  // namespace ipex_quant::python
