// LSTM and GRU with each form of input, cut by sequences, by directions and by units.
#include <memory>

#include "kernels/recurrent/recurrent.h"
#include "tests/native/kernel_case.h"

namespace ipex_quant::tests {

using namespace kernels;

namespace {

struct Shape {
  CellKind cell;
  InputMode mode;
  int64_t input, units, layers, directions;
  int64_t time, batch;
};

ScaledGates random_gates(const Shape& s, int64_t k) {
  const int64_t rows = gates_of(s.cell) * s.units;
  const auto plain = random_weights(rows * k);
  const auto matrix = std::make_shared<const GateMatrix>(
      pack_gate_matrix(plain.data(), k, 0, k, gates_of(s.cell), s.units));
  const std::vector<float> scales(static_cast<size_t>(rows), 0.002f);
  return {matrix, pack_gate_vector(scales, gates_of(s.cell), s.units)};
}

std::vector<float> random_bias(const Shape& s) {
  const auto values = random_floats(gates_of(s.cell) * s.units);
  return pack_gate_vector({values.begin(), values.end()}, gates_of(s.cell), s.units);
}

RecurrentModel random_model(const Shape& s) {
  RecurrentModel model{s.cell, s.input, s.units, s.layers, s.directions, s.mode, 0.02f, 120, {}};
  for (int64_t i = 0; i < s.layers * s.directions; ++i) {
    RecurrentWeights weights;
    if (i < s.directions) {
      weights.input.push_back(random_gates(s, s.input));
    } else {
      for (int64_t below = 0; below < s.directions; ++below) {
        weights.input.push_back(random_gates(s, s.units));
      }
    }
    weights.hidden = random_gates(s, s.units);
    weights.input_bias = random_bias(s);
    if (s.cell == CellKind::kGru) weights.hidden_bias = random_bias(s);
    model.weights.push_back(std::move(weights));
  }
  return model;
}

/// The result is y, then hn, then cn.
KernelCase recurrent_case(const char* name, const Shape& s) {
  const auto model = std::make_shared<const RecurrentModel>(random_model(s));
  const auto floats =
      std::make_shared<const AlignedVector<float>>(random_floats(s.time * s.batch * s.input));
  const auto codes = std::make_shared<const Bytes>(random_bytes(s.time * s.batch * s.input));
  const int64_t y_values = s.time * s.batch * s.directions * s.units;
  const int64_t state_values = s.layers * s.directions * s.batch * s.units;
  const auto h0 = std::make_shared<const AlignedVector<float>>(random_floats(state_values));
  const int64_t values = y_values + state_values * (s.cell == CellKind::kLstm ? 2 : 1);
  return {name, values * static_cast<int64_t>(sizeof(float)),
          [=](uint8_t* dst, Features f, const Parallel& p) {
            auto* y = reinterpret_cast<float*>(dst);
            RecurrentCall call{};
            call.time = s.time;
            call.batch = s.batch;
            call.x = s.mode == InputMode::kStaticU8 ? static_cast<const void*>(codes->data())
                                                    : floats->data();
            call.x_time_stride = s.batch * s.input;
            call.x_batch_stride = s.input;
            call.h0 = h0->data();
            call.y = y;
            call.y_time_stride = s.batch * s.directions * s.units;
            call.y_batch_stride = s.directions * s.units;
            call.hn = y + y_values;
            call.cn = s.cell == CellKind::kLstm ? call.hn + state_values : nullptr;
            const RecurrentPlan plan = plan_recurrent(*model, s.time, s.batch, p.threads);
            Bytes workspace(plan.workspace_bytes);
            run_recurrent(*model, call, plan, workspace.data(), p, f);
          }};
}

}  // namespace

std::vector<KernelCase> recurrent_cases() {
  return {
      recurrent_case("lstm of two directions",
                     {CellKind::kLstm, InputMode::kStaticU8, 20, 24, 2, 2, 5, 5}),
      recurrent_case("lstm of sequences", {CellKind::kLstm, InputMode::kRows8, 20, 24, 2, 1, 5, 5}),
      recurrent_case("lstm of units", {CellKind::kLstm, InputMode::kRows8, 20, 448, 1, 1, 2, 1}),
      recurrent_case("gru of two directions",
                     {CellKind::kGru, InputMode::kRows8, 20, 24, 2, 2, 5, 5}),
      recurrent_case("gru of sequences", {CellKind::kGru, InputMode::kRows16, 6, 24, 1, 1, 5, 5}),
      recurrent_case("gru of units", {CellKind::kGru, InputMode::kStaticU8, 20, 512, 1, 1, 2, 1}),
  };
}

}  // namespace ipex_quant::tests
