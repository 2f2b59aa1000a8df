// Binds the summary's checks, and the compiler as a whole.
#include <pybind11/stl.h>
#include <torch/csrc/jit/python/pybind_utils.h>

#include "passes/quantize.h"
#include "python/csrc/binding.h"

namespace ipex_quant::python {

namespace {

using passes::Fusion;
using passes::Normalized;
using passes::Target;
using torch::jit::Module;

Module quantize(const Module& traced, const std::string& summary, const std::string& source,
                const std::vector<Fusion>& fusions, const std::vector<std::string>& preserved_attrs,
                Target target) {
  return passes::quantize(traced, passes::read_summary(summary, source), fusions, preserved_attrs,
                          target)
      .module;
}

Module compile_by_summary(const Module& normalized, const std::vector<std::string>& sites,
                          const std::string& summary, const std::string& source,
                          const std::vector<Fusion>& fusions,
                          const std::vector<std::string>& preserved_attrs, Target target) {
  return passes::compile_by_summary(Normalized{normalized, sites},
                                    passes::read_summary(summary, source), fusions, preserved_attrs,
                                    target)
      .module;
}

}  // namespace

void bind_quantize(py::module_& m) {
  m.def(
      "check_summary",
      [](const py::bytes& summary, const std::string& source) {
        passes::read_summary(summary, source);
      },
      py::arg("summary"), py::arg("source"), "Raise unless the JSON text is a valid summary.");
  m.def("check_same_sites", &passes::check_same_sites, py::arg("of_model"), py::arg("of_summary"),
        py::arg("model"), py::arg("source"),
        "Raise unless both lists of sites are the same; the two names stand in the error.");
  m.def("quantize", &quantize, py::arg("traced"), py::arg("summary"), py::arg("source"),
        py::arg("fusions"), py::arg("preserved_attrs"), py::arg("target"),
        "Compiled module from a traced one and its summary.");
  m.def("compile_by_summary", &compile_by_summary, py::arg("normalized"), py::arg("sites"),
        py::arg("summary"), py::arg("source"), py::arg("fusions"), py::arg("preserved_attrs"),
        py::arg("target"), "The same from a normalized module, whose sites the summary has.");
}

}  // namespace ipex_quant::python
