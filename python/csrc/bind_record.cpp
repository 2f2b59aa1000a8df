// Binds the operator table and the recorder.
#include <pybind11/stl.h>
#include <torch/csrc/jit/python/pybind_utils.h>

#include "passes/record/recorder.h"
#include "passes/record/traced_calls.h"
#include "python/csrc/binding.h"

namespace ipex_quant::python {

namespace {

py::list op_table() {
  py::list rows;
  for (const passes::OpRow& row : passes::op_table()) {
    py::list operands;
    for (const passes::OperandRow& operand : row.operands) {
      py::dict entry;
      entry["name"] = operand.name;
      entry["index"] = operand.index;
      entry["kind"] = passes::kind_name(operand.kind);
      entry["axis"] = operand.axis;
      entry["transposed_axis"] = operand.transposed_axis;
      operands.append(entry);
    }
    py::dict entry;
    entry["family"] = row.family;
    entry["names"] = row.names;
    entry["operands"] = operands;
    rows.append(entry);
  }
  return rows;
}

void call(const py::object& callback, const passes::RecordedCall& recorded) {
  const py::gil_scoped_acquire gil;
  py::list arguments;
  for (const c10::IValue& argument : recorded.arguments) {
    arguments.append(torch::jit::toPyObject(argument));
  }
  callback(recorded.family, recorded.name, arguments, recorded.site);
}

/// The recorders that this thread started, innermost last.
std::vector<std::unique_ptr<passes::Recorder>>& recorders() {
  static thread_local std::vector<std::unique_ptr<passes::Recorder>> state;
  return state;
}

void recorder_start(py::object callback) {
  auto held = hold(std::move(callback));
  recorders().push_back(std::make_unique<passes::Recorder>(
      [held](const passes::RecordedCall& recorded) { call(*held, recorded); }));
}

void recorder_stop() {
  TORCH_CHECK(!recorders().empty(), "recorder_stop: no recorder was started on this thread");
  const auto recorder = std::move(recorders().back());
  recorders().pop_back();
  recorder->stop();
}

std::vector<std::pair<std::string, std::int64_t>>
traced_sites(passes::TracedCalls& calls, const std::vector<at::Tensor>& outputs,
             const std::vector<std::string>& opaque) {
  std::vector<std::pair<std::string, std::int64_t>> pairs;
  for (auto& traced : calls.sites(outputs, opaque)) pairs.emplace_back(traced.site, traced.call);
  return pairs;
}

std::vector<bool> calls_of_numbers(const passes::TracedCalls& calls) {
  std::vector<bool> flags;
  for (const passes::TracedCall& call : calls.calls()) flags.push_back(call.of_numbers);
  return flags;
}

}  // namespace

void bind_record(py::module_& m) {
  m.def("op_table", &op_table, "Rows {family, names, operands} of all operators that have sites.");
  m.def("recorder_start", &recorder_start, py::arg("callback"),
        "Call callback(family, op, args, site) before each table operator that this thread runs.");
  m.def("recorder_stop", &recorder_stop,
        "Stop the last recorder of this thread; raise what its callback raised.");
  py::class_<passes::TracedCalls>(m, "TracedCalls", "The calls that a running trace makes.")
      .def(py::init<>())
      .def("note", &passes::TracedCalls::note, py::arg("family"), "Note the call that runs now.")
      .def("sites", &traced_sites, py::arg("outputs"), py::arg("opaque"),
           "(site, number of its call or -1) of each site of the trace with these outputs.")
      .def("of_numbers", &calls_of_numbers,
           "After sites(): of each call, whether it computes from sizes and constants alone.");
}

}  // namespace ipex_quant::python
