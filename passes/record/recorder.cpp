/// \file
/// Implements Recorder with a thread-local at::RecordFunction callback.
#include "passes/record/recorder.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <map>

#include "passes/record/mark.h"

namespace ipex_quant::passes {

namespace {

/// What an event opened; closed by the end of the same event.
enum class Opened { kNothing, kOperator, kScript };

struct Context : at::ObserverContext {
  explicit Context(Opened value) : opened(value) {}
  Opened opened;
};

/// The state of one thread. The nesting of calls is a property of the thread, so all its recorders
/// share it.
struct Watch {
  std::vector<Recorder*> recorders;
  at::CallbackHandle handle = at::INVALID_CALLBACK_HANDLE;
  std::size_t operators = 0;  ///< recorded operators around the current point
  std::size_t scripts = 0;    ///< TorchScript functions around the current point
  bool delivering = false;    ///< a listener runs
  std::optional<std::string> mark;
  MarkedCalls marked;
};

Watch& watch() {
  static thread_local Watch state;
  return state;
}

/// The tracer records no call without a tensor result.
bool returns_tensor(const at::RecordFunction& event) {
  const auto schema = event.operator_schema();
  if (!schema) {
    return true;
  }
  const auto& returns = schema->returns();
  return std::any_of(returns.begin(), returns.end(), [](const c10::Argument& result) {
    return result.type()->isSubtypeOf(*c10::TensorType::get()) ||
           result.type()->isSubtypeOf(*c10::ListType::ofTensors());
  });
}

/// The arguments of the call. An event out of TorchScript shows the interpreter's whole stack,
/// whose end they are.
c10::ArrayRef<const c10::IValue> arguments_of(const at::RecordFunction& event) {
  const auto inputs = event.inputs();
  const auto schema = event.operator_schema();
  const std::size_t count = schema ? schema->arguments().size() : inputs.size();
  return inputs.size() > count ? inputs.slice(inputs.size() - count) : inputs;
}

void report(Watch& state, const std::string& name, const std::string& overload,
            const at::RecordFunction& event) {
  const auto site = std::exchange(state.mark, std::nullopt);
  if (state.scripts > 0 && !site) {
    return;
  }
  const auto inputs = arguments_of(event);
  std::optional<RecordedCall> call;
  if (site) {
    call = state.marked.restore(*site, name, inputs);
  } else if (const OpRow* row = find_row(name, overload)) {
    std::vector<c10::IValue> arguments(inputs.begin(), inputs.end());
    call = RecordedCall{row->family, name, std::move(arguments), std::nullopt};
  }
  // An event without its inputs (a caller that did not ask needsInputs) has nothing to observe.
  if (!call || call->arguments.empty()) {
    return;
  }
  state.delivering = true;
  const auto recorders = state.recorders;  // a listener may start or stop others
  for (Recorder* recorder : recorders) {
    recorder->deliver(*call);
  }
  state.delivering = false;
}

Opened enter(Watch& state, const at::RecordFunction& event) {
  if (event.scope() == at::RecordScope::TORCHSCRIPT_FUNCTION) {
    ++state.scripts;
    return Opened::kScript;
  }
  const auto op = event.operator_name();
  if (!op || state.operators > 0) {
    return Opened::kNothing;
  }
  if (op->name == "ipex_quant::mark") {
    state.mark =
        event.inputs().empty() ? std::nullopt : std::make_optional(event.inputs()[0].toStringRef());
    return Opened::kNothing;
  }
  if (is_looked_through(op->name) || !returns_tensor(event)) {
    return Opened::kNothing;
  }
  report(state, op->name, op->overload_name, event);
  ++state.operators;
  return Opened::kOperator;
}

std::unique_ptr<at::ObserverContext> on_start(const at::RecordFunction& event) {
  Watch& state = watch();
  // Callbacks travel to the threads that TorchScript forks; those have no recorder of their own.
  if (state.recorders.empty() || state.delivering) {
    return nullptr;
  }
  const Opened opened = enter(state, event);
  return opened == Opened::kNothing ? nullptr : std::make_unique<Context>(opened);
}

void on_end(const at::RecordFunction& /*event*/, at::ObserverContext* context) {
  if (context == nullptr) {
    return;
  }
  Watch& state = watch();
  switch (static_cast<Context*>(context)->opened) {
  case Opened::kOperator:
    --state.operators;
    break;
  case Opened::kScript:
    --state.scripts;
    break;
  case Opened::kNothing:
    break;
  }
}

}  // namespace

Recorder::Recorder(Listener listener) : listener_(std::move(listener)) {
  Watch& state = watch();
  if (state.recorders.empty()) {
    state.operators = 0;
    state.scripts = 0;
    state.mark.reset();
    state.marked = MarkedCalls();
    state.handle = at::addThreadLocalCallback(
        at::RecordFunctionCallback(on_start, on_end)
            .needsInputs(true)
            .scopes({at::RecordScope::FUNCTION, at::RecordScope::TORCHSCRIPT_FUNCTION}));
  }
  state.recorders.push_back(this);
  attached_ = true;
}

Recorder::~Recorder() { detach(); }

void Recorder::detach() {
  if (!attached_) {
    return;
  }
  attached_ = false;
  Watch& state = watch();
  auto& recorders = state.recorders;
  recorders.erase(std::remove(recorders.begin(), recorders.end(), this), recorders.end());
  if (recorders.empty()) {
    at::removeCallback(state.handle);
    state.marked = MarkedCalls();  // lets go of the tensors it holds
  }
}

void Recorder::stop() {
  const auto& recorders = watch().recorders;
  TORCH_CHECK(!attached_ || std::find(recorders.begin(), recorders.end(), this) != recorders.end(),
              "recorder: stop() called on another thread than the one that started it");
  detach();
  if (error_) {
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
}

void Recorder::deliver(const RecordedCall& call) {
  if (!attached_ || error_) {
    return;
  }
  try {
    listener_(call);
  } catch (...) {  // torch prints an exception of a callback and goes on; keep it for stop()
    error_ = std::current_exception();
  }
}

}  // namespace ipex_quant::passes
