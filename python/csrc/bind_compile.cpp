// Binds SiteParams, OperandParams and compile.
#include <pybind11/stl.h>
#include <torch/csrc/jit/python/pybind_utils.h>

#include "ipex_quant/steady.h"
#include "passes/freeze/compile.h"
#include "passes/quant/quantize_weights.h"
#include "python/csrc/binding.h"

namespace ipex_quant::python {

namespace {

using passes::Fusion;
using passes::OperandParams;
using passes::SiteParams;
using passes::Target;

/// An optional tensor in Python is an undefined one in C++.
template <class T>
void optional_tensor(py::class_<T>& type, const char* name, at::Tensor T::* member) {
  type.def_property(
      name,
      [member](const T& self) -> std::optional<at::Tensor> {
        return (self.*member).defined() ? std::optional<at::Tensor>(self.*member) : std::nullopt;
      },
      [member](T& self, const std::optional<at::Tensor>& value) {
        self.*member = value.value_or(at::Tensor());
      });
}

py::tuple compile(const torch::jit::Module& module, const std::vector<SiteParams>& sites,
                  const std::vector<Fusion>& fusions,
                  const std::vector<std::string>& preserved_attrs, Target target) {
  auto compiled = passes::compile(module, sites, fusions, preserved_attrs, target);
  return py::make_tuple(compiled.module, compiled.report);
}

bool run_compile_pass(const std::string& name, const std::shared_ptr<torch::jit::Graph>& graph,
                      const std::vector<SiteParams>& sites, const std::vector<Fusion>& fusions) {
  passes::PassContext context;
  context.sites = &sites;
  context.fusions = &fusions;
  return passes::run_pass(name, graph, context);
}

}  // namespace

void bind_compile(py::module_& m) {
  py::class_<OperandParams> operand(m, "OperandParams", "How one operand of a site is quantized.");
  operand
      .def(py::init([](const std::string& name, const std::string& kind, double scale,
                       std::int64_t zero_point, const std::optional<at::Tensor>& scales,
                       std::int64_t axis, const std::string& mode,
                       const std::optional<at::Tensor>& channel_factor) {
             OperandParams params;
             params.name = name;
             params.kind = kind;
             params.scale = scale;
             params.zero_point = zero_point;
             params.scales = scales.value_or(at::Tensor());
             params.axis = axis;
             params.mode = mode;
             params.channel_factor = channel_factor.value_or(at::Tensor());
             return params;
           }),
           py::arg("name"), py::arg("kind") = "activation", py::arg("scale") = 0.0,
           py::arg("zero_point") = 0, py::arg("scales") = py::none(), py::arg("axis") = 0,
           py::arg("mode") = "static", py::arg("channel_factor") = py::none())
      .def_readwrite("name", &OperandParams::name)
      .def_readwrite("kind", &OperandParams::kind)
      .def_readwrite("scale", &OperandParams::scale)
      .def_readwrite("zero_point", &OperandParams::zero_point)
      .def_readwrite("axis", &OperandParams::axis)
      .def_readwrite("mode", &OperandParams::mode);
  optional_tensor(operand, "scales", &OperandParams::scales);
  optional_tensor(operand, "channel_factor", &OperandParams::channel_factor);

  py::class_<SiteParams> site(m, "SiteParams", "What was decided for one site.");
  site.def(py::init([](const std::string& name, bool int8, const std::string& reason,
                       const std::vector<OperandParams>& operands,
                       const std::optional<at::Tensor>& bias_correction) {
             return SiteParams{name, int8, reason, operands,
                               bias_correction.value_or(at::Tensor())};
           }),
           py::arg("site"), py::arg("int8") = false, py::arg("reason") = "",
           py::arg("operands") = std::vector<OperandParams>(),
           py::arg("bias_correction") = py::none())
      .def_readwrite("site", &SiteParams::site)
      .def_readwrite("int8", &SiteParams::int8)
      .def_readwrite("reason", &SiteParams::reason)
      .def_readwrite("operands", &SiteParams::operands);
  optional_tensor(site, "bias_correction", &SiteParams::bias_correction);

  py::enum_<Target>(m, "Target", "What compile makes of a normalized graph.")
      .value("INT8", Target::kInt8)
      .value("BFLOAT16", Target::kBfloat16)
      .value("PORTABLE", Target::kPortable);
  m.def("compile", &compile, py::arg("module"), py::arg("sites"),
        py::arg("fusions") = std::vector<Fusion>(),
        py::arg("preserved_attrs") = std::vector<std::string>(), py::arg("target") = Target::kInt8,
        "Frozen module with int8 kernels from a normalized one, and its report as JSON.");
  m.def("run_compile_pass", &run_compile_pass, py::arg("name"), py::arg("graph"), py::arg("sites"),
        py::arg("fusions") = std::vector<Fusion>(),
        "Run one pass on a graph with these sites and fusions; true when it changed it.");
  m.def("make_steady", &make_steady, py::arg("module"),
        "Make the execution plans of a module now, without profiling.");
  m.def("splits_input_weight", &passes::splits_input_weight, py::arg("input_size"),
        py::arg("units"), "Whether the first weights of an lstm become two int8 parts.");
  m.def("split_input_weight", &passes::split_input_weight, py::arg("weight"), py::arg("scales"),
        "These two parts beside each other, still float.");
  m.attr("small_copy") = passes::kSmallCopy;
}

}  // namespace ipex_quant::python
