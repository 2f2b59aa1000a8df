// Checks and packs recurrent modules; saves and loads them.
#include "runtime/packed_recurrent.h"

#include <ATen/ATen.h>

#include <cmath>

#include "runtime/epilogue_text.h"
#include "runtime/register_ops.h"
#include "runtime/weight_pool.h"

namespace ipex_quant::runtime {
namespace {

using kernels::CellKind;

constexpr int64_t kVersion = 1;
constexpr int64_t kMaxFeatures = 65536;  // keeps int32 sums of u8 * s8 exact

const char* name_of(CellKind cell) { return cell == CellKind::kLstm ? "lstm" : "gru"; }

void check_plain(const at::Tensor& t, at::ScalarType dtype, const std::string& what) {
  TORCH_CHECK(t.defined() && t.device().is_cpu() && t.layout() == at::kStrided, what,
              " must be a dense CPU tensor");
  TORCH_CHECK(t.scalar_type() == dtype, what, " must be ", at::toString(dtype), ", got ",
              at::toString(t.scalar_type()));
}

void check_scales(const at::Tensor& scales, int64_t rows, const std::string& what) {
  check_plain(scales, at::kFloat, what);
  TORCH_CHECK(scales.dim() <= 1 && (scales.numel() == 1 || scales.numel() == rows), what,
              " must hold 1 or ", rows, " values in one dimension, got shape ", scales.sizes());
  const at::Tensor flat = scales.contiguous();
  const float* values = flat.const_data_ptr<float>();
  for (int64_t i = 0; i < flat.numel(); ++i) {
    TORCH_CHECK(std::isfinite(values[i]) && values[i] > 0, what,
                " must be finite and positive, got ", values[i], " at ", i);
  }
}

/// "lstm_prepack: weights.3 (w_hh of layer 1)" and its like.
std::string label(CellKind cell, const char* list, int64_t index, int64_t directions) {
  const int64_t layer = index / (2 * directions);
  std::string text = std::string(name_of(cell)) + "_prepack: " + list + "." +
                     std::to_string(index) + " (" + (index % 2 ? "hh" : "ih") + " of layer " +
                     std::to_string(layer);
  if (directions == 2) text += index / 2 % 2 ? ", backward" : ", forward";
  return text + ")";
}

/// Checks everything that packing and kernels rely on. Returns {input size, units}.
std::pair<int64_t, int64_t> check(CellKind cell, const RecurrentDefinition& d) {
  const std::string op = std::string(name_of(cell)) + "_prepack";
  const int64_t gates = kernels::gates_of(cell);
  const int64_t directions = d.bidirectional ? 2 : 1;
  TORCH_CHECK(d.num_layers >= 1 && d.num_layers <= 1024, op, ": num_layers must be 1 to 1024, got ",
              d.num_layers);
  const int64_t pairs = d.num_layers * directions;
  const auto count = static_cast<int64_t>(d.weights.size());
  TORCH_CHECK(count != 3 * pairs, op, ": expected ", 2 * pairs, " weights, got ", count,
              ": projections (proj_size > 0) are not supported; keep this module float");
  TORCH_CHECK(count == 2 * pairs, op, ": expected ", 2 * pairs, " weights for ", d.num_layers,
              " layers and ", directions, " directions, got ", count);
  TORCH_CHECK(d.weight_scales.size() == d.weights.size(), op, ": expected ", count,
              " weight scales, one tensor for each weight, got ", d.weight_scales.size());
  TORCH_CHECK(d.biases.empty() || d.biases.size() == d.weights.size(), op, ": expected ", count,
              " biases or none, got ", d.biases.size());
  for (int64_t i = 0; i < count; ++i) {
    check_plain(d.weights[i], at::kChar, label(cell, "weights", i, directions));
    TORCH_CHECK(d.weights[i].dim() == 2, label(cell, "weights", i, directions),
                " must have 2 dimensions, got shape ", d.weights[i].sizes());
  }
  const int64_t input = d.weights[0].size(1);
  const int64_t units = d.weights[1].size(1);
  TORCH_CHECK(input >= 1 && input <= kMaxFeatures && units >= 1 && units <= kMaxFeatures / 2, op,
              ": input size must be 1 to ", kMaxFeatures, " and hidden size 1 to ",
              kMaxFeatures / 2, ", got ", input, " and ", units);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t layer = i / (2 * directions);
    const int64_t columns = i % 2 ? units : layer == 0 ? input : directions * units;
    const std::vector<int64_t> expected = {gates * units, columns};
    TORCH_CHECK(d.weights[i].sizes() == at::IntArrayRef(expected),
                label(cell, "weights", i, directions), " must have shape ",
                at::IntArrayRef(expected), ", got ", d.weights[i].sizes(),
                " (projections, proj_size > 0, are not supported)");
    check_scales(d.weight_scales[i], gates * units, label(cell, "weight_scales", i, directions));
    if (d.biases.empty()) continue;
    check_plain(d.biases[i], at::kFloat, label(cell, "biases", i, directions));
    TORCH_CHECK(d.biases[i].dim() == 1 && d.biases[i].numel() == gates * units,
                label(cell, "biases", i, directions), " must have shape [", gates * units,
                "], got ", d.biases[i].sizes());
  }
  const auto x_scale = static_cast<float>(d.x_scale);
  TORCH_CHECK(d.x_scale == 0 || (std::isfinite(x_scale) && x_scale > 0), op,
              ": x_scale must be positive and finite, or 0 to quantize x at run time, got ",
              d.x_scale);
  TORCH_CHECK(d.x_zero_point >= 0 && d.x_zero_point <= 255, op,
              ": x_zero_point must be 0 to 255, got ", d.x_zero_point);
  return {input, units};
}

WeightPool<kernels::GateMatrix> g_pool;

/// `rows` values of a tensor that holds as many, or one for all.
std::vector<float> values_of(const at::Tensor& t, int64_t rows) {
  const at::Tensor flat = t.contiguous();
  const float* values = flat.const_data_ptr<float>();
  if (flat.numel() == 1) return std::vector<float>(rows, values[0]);
  return std::vector<float>(values, values + rows);
}

/// Packs columns [k_begin, k_begin + k) of weight `index`, or finds them packed; the definition
/// then shares the plain weight, too.
kernels::ScaledGates pack(RecurrentDefinition& d, int64_t index, int64_t k_begin, int64_t k,
                          int64_t gates, int64_t units) {
  const std::string key =
      std::to_string(gates) + "," + std::to_string(k_begin) + "," + std::to_string(k);
  const auto shared = g_pool.get(d.weights[index].contiguous(), key, [&](const at::Tensor& w) {
    return kernels::pack_gate_matrix(w.const_data_ptr<int8_t>(), w.size(1), k_begin, k, gates,
                                     units);
  });
  d.weights[index] = shared->plain;
  const std::vector<float> scales = values_of(d.weight_scales[index], gates * units);
  return {{shared, &shared->packed}, kernels::pack_gate_vector(scales, gates, units)};
}

kernels::RecurrentModel pack_model(CellKind cell, RecurrentDefinition& d) {
  const auto [input, units] = check(cell, d);
  kernels::RecurrentModel model;
  model.cell = cell;
  model.input_size = input;
  model.units = units;
  model.layers = d.num_layers;
  model.directions = d.bidirectional ? 2 : 1;
  model.input_mode =
      d.x_scale > 0 ? kernels::InputMode::kStaticU8 : kernels::run_time_mode(input, units);
  model.x_scale = static_cast<float>(d.x_scale);
  model.x_zero_point = static_cast<int32_t>(d.x_zero_point);
  const int64_t gates = kernels::gates_of(cell);
  for (int64_t i = 0; i < model.layers * model.directions; ++i) {
    kernels::RecurrentWeights packed;
    if (i < model.directions) {
      packed.input.push_back(pack(d, 2 * i, 0, input, gates, units));
    } else {
      for (int64_t below = 0; below < model.directions; ++below) {
        packed.input.push_back(pack(d, 2 * i, below * units, units, gates, units));
      }
    }
    packed.hidden = pack(d, 2 * i + 1, 0, units, gates, units);
    std::vector<float> input_bias(gates * units, 0.0f);
    std::vector<float> hidden_bias(gates * units, 0.0f);
    if (!d.biases.empty()) {
      input_bias = values_of(d.biases[2 * i], gates * units);
      hidden_bias = values_of(d.biases[2 * i + 1], gates * units);
    }
    if (cell == CellKind::kLstm) {
      for (size_t n = 0; n < input_bias.size(); ++n) input_bias[n] += hidden_bias[n];
    } else {
      packed.hidden_bias = kernels::pack_gate_vector(hidden_bias, gates, units);
    }
    packed.input_bias = kernels::pack_gate_vector(input_bias, gates, units);
    model.weights.push_back(std::move(packed));
  }
  return model;
}

template <class Packed>
void register_class(torch::Library& m, const char* name) {
  m.class_<Packed>(name).def_pickle(
      [](const c10::intrusive_ptr<Packed>& self) { return self->packed.state(); },
      [](RecurrentState state) {
        return c10::make_intrusive<Packed>(
            PackedRecurrent::definition_of(Packed::kCell, std::move(state)));
      });
}

}  // namespace

PackedRecurrent::PackedRecurrent(CellKind cell, RecurrentDefinition definition)
    : definition_(std::move(definition)), epilogue_(parse_epilogue(definition_.epilogue)),
      model_(pack_model(cell, definition_)) {
  TORCH_CHECK(epilogue_.count == 0 && !epilogue_.look_up, name_of(cell),
              "_prepack: the epilogue may only be \"\" or \"quantize(scale,zero_point)\", got \"",
              definition_.epilogue, "\"");
}

RecurrentState PackedRecurrent::state() const {
  const RecurrentDefinition& d = definition_;
  return {kVersion,
          d.weights,
          d.weight_scales,
          d.biases,
          {d.num_layers, d.bidirectional, d.batch_first},
          d.x_scale,
          d.x_zero_point,
          d.epilogue};
}

RecurrentDefinition PackedRecurrent::definition_of(CellKind cell, RecurrentState state) {
  auto& [version, weights, scales, biases, ints, x_scale, x_zero_point, epilogue] = state;
  const char* name = name_of(cell);
  TORCH_CHECK(version == kVersion, "packed ", name, ": saved with format version ", version,
              ", this ipex_quant reads version ", kVersion, "; update ipex_quant");
  TORCH_CHECK(ints.size() == 3 && (ints[1] == 0 || ints[1] == 1) && (ints[2] == 0 || ints[2] == 1),
              "packed ", name, ": the saved configuration is damaged; save the model again");
  return {std::move(weights), std::move(scales), std::move(biases), ints[0],
          ints[1] == 1,       ints[2] == 1,      x_scale,           x_zero_point,
          std::move(epilogue)};
}

void register_packed_lstm(torch::Library& m) { register_class<PackedLstm>(m, "PackedLstm"); }

void register_packed_gru(torch::Library& m) { register_class<PackedGru>(m, "PackedGru"); }

}  // namespace ipex_quant::runtime
