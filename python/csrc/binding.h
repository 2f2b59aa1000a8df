/// \file
/// The functions that add each part of the library to the one Python module `ipex_quant._C`.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

namespace ipex_quant::python {

namespace py = pybind11;

/// A Python callable that may be let go of on any thread, also when the interpreter is gone.
inline std::shared_ptr<py::object> hold(py::object callback) {
  return {new py::object(std::move(callback)), [](py::object* object) {
            if (Py_IsInitialized() != 0) {
              const py::gil_scoped_acquire gil;
              delete object;
            }  // else: at process exit, nothing to give back
          }};
}

/// op_table, recorder_start, recorder_stop, TracedCalls.
void bind_record(py::module_& m);
/// normalize, instrument, run_pass, pass_names, parse_ir and the canonical text of a graph.
void bind_passes(py::module_& m);
/// OperandParams, SiteParams, compile.
void bind_compile(py::module_& m);
/// Operator.
void bind_operators(py::module_& m);
/// check_summary, check_same_sites, quantize, compile_by_summary.
void bind_quantize(py::module_& m);

/// Fusion and its makers, the match that a guard sees. Before bind_compile, which takes fusions.
void bind_fusions(py::module_& m);

}  // namespace ipex_quant::python
