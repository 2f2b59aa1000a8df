// Binds the fusions of the user: their makers, the matches that guards look at.
#include <pybind11/stl.h>
#include <torch/csrc/jit/python/pybind_utils.h>

#include "passes/fusion/fusion.h"
#include "passes/fusion/list_fusions.h"
#include "passes/ir.h"
#include "python/csrc/binding.h"

namespace ipex_quant::python {

namespace {

using passes::Fusion;
using passes::PatternMatch;
using torch::jit::Graph;

using NamedGuards = std::vector<std::pair<std::string, py::object>>;

std::vector<passes::Guard> as_guards(const NamedGuards& given) {
  std::vector<passes::Guard> guards;
  for (const auto& [statement, function] : given) {
    guards.push_back({statement, [held = hold(function)](const PatternMatch& match) {
                        const py::gil_scoped_acquire gil;
                        return (*held)(match).cast<std::string>();
                      }});
  }
  return guards;
}

/// None when no constant is there.
py::object constant(const PatternMatch& match, const std::string& name) {
  const torch::jit::Value* value = match.value(name);
  TORCH_CHECK(value != nullptr, "the pattern has no value named '", name, "'");
  const auto found = passes::constant_of(value);
  // The tracer writes numbers as tensors without dimensions.
  if (found && found->isTensor() && found->toTensor().dim() == 0) {
    return torch::jit::toPyObject(found->toTensor().item());
  }
  return found ? torch::jit::toPyObject(*found) : py::none();
}

std::vector<std::string> ops(const PatternMatch& match) {
  std::vector<std::string> names;
  for (const torch::jit::Node* node : match.nodes) names.emplace_back(node->kind().toQualString());
  return names;
}

std::vector<std::string> sites(const PatternMatch& match) {
  std::vector<std::string> names;
  for (const torch::jit::Node* node : match.nodes) {
    if (const auto site = passes::site_of(node)) names.push_back(*site);
  }
  return names;
}

c10::IValue number(const py::object& value) {
  if (py::isinstance<py::int_>(value)) return value.cast<std::int64_t>();
  return value.cast<double>();
}

std::shared_ptr<Graph>
function_graph(const std::string& name, const torch::jit::Module& normalized,
               const std::vector<std::string>& inputs,
               const std::vector<std::pair<std::size_t, py::object>>& numbers, bool all_occur) {
  std::vector<std::pair<std::size_t, c10::IValue>> values;
  for (const auto& [position, value] : numbers) values.emplace_back(position, number(value));
  return passes::function_graph(name, normalized, inputs, values, all_occur);
}

py::list list_fusions() {
  py::list rows;
  for (const passes::ListedFusion& row : passes::list_fusions()) {
    rows.append(py::make_tuple(row.part, row.op, row.becomes, row.ends_in));
  }
  return rows;
}

}  // namespace

void bind_fusions(py::module_& m) {
  py::class_<PatternMatch>(m, "PatternMatch", "One place of a graph that looks like a pattern.")
      .def("constant", &constant, py::arg("name"),
           "The constant that a value of the pattern stands for, or None.")
      .def_property_readonly("ops", &ops, "Names of the matched operators in program order.")
      .def_property_readonly("sites", &sites, "Site keys of those that have one.");
  py::class_<Fusion>(m, "Fusion", "A checked fusion of the user.")
      .def_readonly("name", &Fusion::name)
      .def_readonly("pattern", &Fusion::pattern);
  m.def("list_fusions", &list_fusions,
        "(part, op, becomes, ends in) of each built-in fusion, for docs.");
  m.def("parse_fusion_ir", &passes::parse_fusion_ir, py::arg("name"), py::arg("side"),
        py::arg("text"), "Graph of an IR text; the error names fusion and side.");
  m.def("function_graph", &function_graph, py::arg("name"), py::arg("normalized"),
        py::arg("inputs"), py::arg("numbers"), py::arg("all_occur"),
        "Graph of a traced and normalized function; constants equal to a number become inputs.");
  m.def(
      "rewrite_fusion",
      [](const std::string& name, std::shared_ptr<Graph> pattern, std::shared_ptr<Graph> rewrite,
         bool on_int8, const NamedGuards& guards) {
        return passes::rewrite_fusion(name, std::move(pattern), std::move(rewrite),
                                      on_int8 ? passes::On::kInt8 : passes::On::kFloat,
                                      as_guards(guards));
      },
      py::arg("name"), py::arg("pattern"), py::arg("rewrite"), py::arg("on_int8"),
      py::arg("guards") = NamedGuards(), "A fusion that puts other operators in place.");
  m.def(
      "post_op_fusion",
      [](const std::string& name, std::shared_ptr<Graph> pattern, const std::string& steps,
         const NamedGuards& guards) {
        return passes::post_op_fusion(name, std::move(pattern), steps, as_guards(guards));
      },
      py::arg("name"), py::arg("pattern"), py::arg("steps"), py::arg("guards") = NamedGuards(),
      "A fusion that puts steps into an epilogue.");
  m.def(
      "elementwise_fusion",
      [](const std::string& name, std::shared_ptr<Graph> pattern, const NamedGuards& guards) {
        return passes::elementwise_fusion(name, std::move(pattern), as_guards(guards));
      },
      py::arg("name"), py::arg("pattern"), py::arg("guards") = NamedGuards(),
      "A fusion that makes a table of a function.");
}

}  // namespace ipex_quant::python
