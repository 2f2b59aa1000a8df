/// \file
/// Watches the dispatcher calls of one thread and reports those of the operator table, as the
/// tracer would record them.
#pragma once

#include <ATen/core/ivalue.h>

#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "passes/sites/op_table.h"

namespace ipex_quant::passes {

/// One observed call, before it runs.
struct RecordedCall {
  std::string family;                  ///< row of the operator table
  std::string name;                    ///< "aten::conv2d"
  std::vector<c10::IValue> arguments;  ///< in schema order
  std::optional<std::string> site;     ///< text of the ipex_quant::mark before it
};

/// Reports, from construction to stop(), the calls made by the thread that made it.
///
/// Reported is the outermost operator of the table: a call inside another recorded operator (the
/// bmm of an einsum, the linear inside an LSTM) is not, a call inside one that the tracer looks
/// through (lstm_cell) is. Inside TorchScript code only the call that follows an ipex_quant::mark
/// is reported, in the form it had before normalisation (see mark.h): scripted submodules of an
/// eager model are opaque. Calls made by a listener are not reported. The first exception of the
/// listener is kept and thrown by stop(); nothing is reported after it. Recorders may nest on a
/// thread; each sees all calls.
class Recorder {
 public:
  using Listener = std::function<void(const RecordedCall&)>;

  explicit Recorder(Listener listener);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  /// Ends the recording, on the thread of the constructor. Throws what the listener threw.
  void stop();

  /// For the watch of the thread only.
  void deliver(const RecordedCall& call);

 private:
  void detach();

  Listener listener_;
  std::exception_ptr error_;
  bool attached_ = false;
};

}  // namespace ipex_quant::passes
