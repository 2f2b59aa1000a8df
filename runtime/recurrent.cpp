// The operators lstm, gru and their prepacks: argument checks and the call of the kernels.
#include <ATen/ATen.h>
#include <torch/library.h>

#include "runtime/memory.h"
#include "runtime/packed_recurrent.h"
#include "runtime/threading.h"

namespace ipex_quant::runtime {
namespace {

using kernels::CellKind;

/// The initial state in one piece; one that is not given stays undefined.
at::Tensor initial_state(const at::Tensor& state, at::IntArrayRef expected, const char* op,
                         const char* name) {
  if (!state.defined()) return state;
  TORCH_CHECK(state.device().is_cpu() && state.scalar_type() == at::kFloat, op, ": ", name,
              " must be a float32 CPU tensor, got ", at::toString(state.scalar_type()), " on ",
              state.device());
  TORCH_CHECK(state.sizes() == expected, op, ": ", name, " must have shape ", expected, ", got ",
              state.sizes());
  return state.contiguous();
}

RecurrentDefinition define(at::TensorList weights, at::TensorList scales, at::TensorList biases,
                           int64_t num_layers, bool bidirectional, bool batch_first,
                           bool has_biases, double x_scale, int64_t x_zero_point,
                           std::string_view epilogue) {
  TORCH_CHECK(has_biases == !biases.empty(), "lstm_prepack, gru_prepack: has_biases is ",
              has_biases ? "true" : "false", " but ", biases.size(), " biases are given");
  return {weights.vec(), scales.vec(), biases.vec(), num_layers,           bidirectional,
          batch_first,   x_scale,      x_zero_point, std::string(epilogue)};
}

c10::intrusive_ptr<PackedLstm> lstm_prepack(at::TensorList weights, at::TensorList scales,
                                            at::TensorList biases, int64_t num_layers,
                                            bool bidirectional, bool batch_first, bool has_biases,
                                            double x_scale, int64_t x_zero_point,
                                            std::string_view epilogue) {
  return c10::make_intrusive<PackedLstm>(define(weights, scales, biases, num_layers, bidirectional,
                                                batch_first, has_biases, x_scale, x_zero_point,
                                                epilogue));
}

c10::intrusive_ptr<PackedGru> gru_prepack(at::TensorList weights, at::TensorList scales,
                                          at::TensorList biases, int64_t num_layers,
                                          bool bidirectional, bool batch_first, bool has_biases,
                                          double x_scale, int64_t x_zero_point,
                                          std::string_view epilogue) {
  return c10::make_intrusive<PackedGru>(define(weights, scales, biases, num_layers, bidirectional,
                                               batch_first, has_biases, x_scale, x_zero_point,
                                               epilogue));
}

using State = std::optional<at::Tensor>;

std::tuple<at::Tensor, at::Tensor, at::Tensor> lstm(const at::Tensor& x, const State& h0,
                                                    const State& c0,
                                                    const c10::intrusive_ptr<PackedLstm>& packed) {
  RecurrentResult result =
      packed->packed.run(x, h0.value_or(at::Tensor()), c0.value_or(at::Tensor()));
  return {result.y, result.hn, result.cn};
}

std::tuple<at::Tensor, at::Tensor> gru(const at::Tensor& x, const State& h0,
                                       const c10::intrusive_ptr<PackedGru>& packed) {
  RecurrentResult result = packed->packed.run(x, h0.value_or(at::Tensor()), at::Tensor());
  return {result.y, result.hn};
}

}  // namespace

RecurrentResult PackedRecurrent::run(const at::Tensor& x_in, const at::Tensor& h0_in,
                                     const at::Tensor& c0_in, bool batches_first) const {
  const bool is_lstm = model_.cell == CellKind::kLstm;
  const char* op = is_lstm ? "lstm" : "gru";
  const bool static_input = model_.input_mode == kernels::InputMode::kStaticU8;
  const at::ScalarType dtype = static_input ? at::kByte : at::kFloat;
  TORCH_CHECK(x_in.device().is_cpu() && x_in.scalar_type() == dtype, op, ": x must be ",
              at::toString(dtype), " on the CPU (x_scale ", static_input ? "> 0" : "= 0",
              " at packing), got ", at::toString(x_in.scalar_type()), " on ", x_in.device());
  TORCH_CHECK(x_in.dim() == 2 || x_in.dim() == 3, op,
              ": x must have 3 dimensions, or 2 when unbatched, got shape ", x_in.sizes());
  TORCH_CHECK(x_in.size(-1) == model_.input_size, op, ": x must have ", model_.input_size,
              " features in its last dimension, got shape ", x_in.sizes());
  const bool batched = x_in.dim() == 3;
  const bool batch_first = batched && batches_first;
  const at::Tensor x = x_in.stride(-1) == 1 || model_.input_size == 1 ? x_in : x_in.contiguous();
  const int time_dim = batch_first ? 1 : 0;
  const int64_t time = x.size(time_dim);
  const int64_t batch = batched ? x.size(1 - time_dim) : 1;
  TORCH_CHECK(time > 0, op, ": the sequence must not be empty, got shape ", x.sizes());

  const int64_t states = model_.layers * model_.directions;
  std::vector<int64_t> state_shape = {states, batch, model_.units};
  std::vector<int64_t> y_shape = {time, batch, model_.directions * model_.units};
  if (batch_first) std::swap(y_shape[0], y_shape[1]);
  if (!batched) {
    state_shape.erase(state_shape.begin() + 1);
    y_shape.erase(y_shape.begin() + 1);
  }
  const at::Tensor h0 = initial_state(h0_in, state_shape, op, "h0");
  const at::Tensor c0 = is_lstm ? initial_state(c0_in, state_shape, op, "c0") : at::Tensor();

  RecurrentResult result;
  result.y = empty(y_shape, epilogue_.quantize ? at::kByte : at::kFloat);
  result.hn = empty(state_shape, at::kFloat);
  if (is_lstm) result.cn = empty(state_shape, at::kFloat);
  if (batch == 0) return result;

  kernels::RecurrentCall call;
  call.time = time;
  call.batch = batch;
  call.x = x.const_data_ptr();
  call.x_time_stride = x.stride(time_dim);
  call.x_batch_stride = batched ? x.stride(1 - time_dim) : 0;
  call.h0 = h0.defined() ? h0.const_data_ptr<float>() : nullptr;
  call.c0 = c0.defined() ? c0.const_data_ptr<float>() : nullptr;
  call.y = result.y.mutable_data_ptr();
  call.y_time_stride = result.y.stride(time_dim);
  call.y_batch_stride = batched ? result.y.stride(1 - time_dim) : 0;
  call.quantize_y = epilogue_.quantize;
  call.y_inv_scale = epilogue_.inv_scale;
  call.y_zero_point = epilogue_.zero_point;
  call.hn = result.hn.mutable_data_ptr<float>();
  call.cn = is_lstm ? result.cn.mutable_data_ptr<float>() : nullptr;

  const kernels::Parallel parallel = torch_parallel();
  const auto plan = kernels::plan_recurrent(model_, time, batch, parallel.threads);
  const at::Tensor workspace = empty({plan.workspace_bytes}, at::kByte);
  kernels::run_recurrent(model_, call, plan, workspace.mutable_data_ptr<uint8_t>(), parallel,
                         kernels::active_features());
  return result;
}

TORCH_LIBRARY_IMPL(ipex_quant, CPU, m) {
  m.impl("gru", &gru);
  m.impl("gru_prepack", &gru_prepack);
  m.impl("lstm", &lstm);
  m.impl("lstm_prepack", &lstm_prepack);
}

}  // namespace ipex_quant::runtime
