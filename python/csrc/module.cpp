// The Python module ipex_quant._C: version and ISA, and the parts bound in the other files here.
#include <c10/util/Exception.h>
#include <pybind11/stl.h>

#include <cstring>

#include "ipex_quant/runtime.h"
#include "python/csrc/binding.h"

namespace {

/// A failed TORCH_CHECK becomes a QuantizationError, without the stack of C++ frames in its text.
void translate(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const c10::Error& error) {
    // The text may quote a damaged file, which need not be UTF-8.
    const char* text = error.what_without_backtrace();
    const auto message = pybind11::reinterpret_steal<pybind11::object>(
        PyUnicode_DecodeUTF8(text, static_cast<Py_ssize_t>(std::strlen(text)), "replace"));
    pybind11::set_error(pybind11::module_::import("ipex_quant.errors").attr("QuantizationError"),
                        message);
  }
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() = "Compiled part of ipex_quant; loading it registers the ipex_quant operators.";
  pybind11::register_local_exception_translator(translate);
  ipex_quant::init();
  m.def("version", &ipex_quant::version, "Version of the compiled library.");
  m.def("built_for_torch", &ipex_quant::built_for_torch,
        "Version of torch the library was compiled against.");
  m.def("isa", &ipex_quant::isa, "Instruction set that the kernels use.");
  m.def("cpu_isa", &ipex_quant::cpu_isa, "Best instruction set of this CPU.");
  m.def("isa_names", &ipex_quant::isa_names, "All known instruction sets, weakest first.");
  m.def("set_isa_cap", &ipex_quant::set_isa_cap, pybind11::arg("name"),
        "Cap the instruction set; empty: back to what IPEX_QUANT_ISA says.");
  m.def(
      "memory_statistics",
      [] {
        const ipex_quant::MemoryStatistics now = ipex_quant::memory_statistics();
        return std::make_pair(now.reserved, now.used);
      },
      "Bytes of operator memory: taken from the system, and in tensors that are alive.");
  m.def("release_memory", &ipex_quant::release_memory,
        "Give operator memory that no tensor uses back to the system.");
  ipex_quant::python::bind_operators(m);
  ipex_quant::python::bind_fusions(m);
  ipex_quant::python::bind_compile(m);
  ipex_quant::python::bind_record(m);
  ipex_quant::python::bind_passes(m);
  ipex_quant::python::bind_quantize(m);
}
