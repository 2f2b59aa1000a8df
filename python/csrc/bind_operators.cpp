// Binds calls of operators that take a packed object. torch.ops searches Python modules for every
// such argument: 10 us a call, a third of an LSTM cell of 512 units.
#include <ATen/core/dispatch/Dispatcher.h>
#include <pybind11/stl.h>
#include <torch/csrc/jit/python/pybind_utils.h>

#include "python/csrc/binding.h"

namespace ipex_quant::python {
namespace {

/// An operator of this library, called past torch.ops.
class Operator {
 public:
  explicit Operator(const std::string& name)
      : op_(c10::Dispatcher::singleton().findSchemaOrThrow(("ipex_quant::" + name).c_str(), "")) {}

  py::object call(const py::args& args) const {
    torch::jit::Stack stack;
    stack.reserve(args.size());
    for (const py::handle& arg : args) stack.push_back(value_of(arg));
    const std::size_t wanted = op_.schema().arguments().size();
    if (stack.size() != wanted) {
      throw py::type_error(op_.schema().name() + " takes " + std::to_string(wanted) +
                           " arguments, got " + std::to_string(stack.size()));
    }
    {
      const py::gil_scoped_release no_gil;
      op_.callBoxed(&stack);
    }
    return torch::jit::createPyObjectForStack(std::move(stack));
  }

 private:
  static c10::IValue value_of(const py::handle& arg) {
    if (THPVariable_Check(arg.ptr())) return THPVariable_Unpack(arg.ptr());
    if (arg.is_none()) return {};
    if (py::isinstance<py::list>(arg)) return py::cast<std::vector<at::Tensor>>(arg);
    if (py::isinstance<torch::jit::Object>(arg)) {
      return py::cast<const torch::jit::Object&>(arg)._ivalue();
    }
    throw py::type_error("an operator takes tensors, lists of them, packed objects and None, got " +
                         py::str(py::type::of(arg)).cast<std::string>());
  }

  c10::OperatorHandle op_;
};

}  // namespace

void bind_operators(py::module_& m) {
  py::class_<Operator>(m, "Operator", "An operator of ipex_quant, called past torch.ops.")
      .def(py::init<const std::string&>(), py::arg("name"))
      .def("__call__", &Operator::call);
}

}  // namespace ipex_quant::python
