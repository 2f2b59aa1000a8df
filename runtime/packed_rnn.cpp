// Checks, packs, saves and runs plain recurrent modules.
#include "runtime/packed_rnn.h"

#include <ATen/ATen.h>
#include <torch/custom_class.h>

#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/register_ops.h"
#include "runtime/weight_checks.h"

namespace ipex_quant::runtime {
namespace {

constexpr int64_t kVersion = 1;
constexpr const char* kPrepack = "rnn_prepack";

void check(const RnnDefinition& d) {
  TORCH_CHECK(d.nonlinearity == "tanh" || d.nonlinearity == "relu", kPrepack,
              ": nonlinearity must be \"tanh\" or \"relu\", got \"", d.nonlinearity, "\"");
  TORCH_CHECK(d.num_layers >= 1 && d.num_layers <= 1024, kPrepack,
              ": num_layers must be 1 to 1024, got ", d.num_layers);
  const int64_t directions = d.bidirectional ? 2 : 1;
  const auto count = static_cast<size_t>(2 * d.num_layers * directions);
  TORCH_CHECK(d.weights.size() == count, kPrepack, ": expected ", count, " weights for ",
              d.num_layers, " layers and ", directions, " directions, got ", d.weights.size());
  TORCH_CHECK(d.weight_scales.size() == count, kPrepack, ": expected ", count,
              " weight scales, one tensor for each weight, got ", d.weight_scales.size());
  TORCH_CHECK(d.biases.empty() || d.biases.size() == count, kPrepack, ": expected ", count,
              " biases or none, got ", d.biases.size());
  check_weight(d.weights[0], 2, kPrepack);
  const int64_t units = d.weights[0].size(0);
  for (size_t i = 0; i < count; ++i) {
    check_weight(d.weights[i], 2, kPrepack);
    const bool first = i < static_cast<size_t>(2 * directions);
    const int64_t columns = i % 2 ? units : first ? d.weights[0].size(1) : directions * units;
    const std::vector<int64_t> expected = {units, columns};
    TORCH_CHECK(d.weights[i].sizes() == at::IntArrayRef(expected), kPrepack, ": weight ", i,
                " must have shape ", at::IntArrayRef(expected), ", got ", d.weights[i].sizes());
  }
}

}  // namespace

PackedRnn::PackedRnn(RnnDefinition definition) : definition_(std::move(definition)) {
  const RnnDefinition& d = definition_;
  check(d);
  for (size_t i = 0; i < d.weights.size(); i += 2) {
    const auto bias = [&](size_t at) {
      return d.biases.empty() ? std::nullopt : std::optional<at::Tensor>(d.biases[at]);
    };
    input_.emplace_back(d.weights[i], d.weight_scales[i], bias(i), true, "");
    hidden_.emplace_back(d.weights[i + 1], d.weight_scales[i + 1], bias(i + 1), true,
                         "add_f32|" + d.nonlinearity);
  }
}

PackedRnn::State PackedRnn::state() const {
  const RnnDefinition& d = definition_;
  return {kVersion,
          d.weights,
          d.weight_scales,
          d.biases,
          {d.num_layers, d.bidirectional, d.batch_first},
          d.nonlinearity};
}

c10::intrusive_ptr<PackedRnn> PackedRnn::from_state(State state) {
  auto& [version, weights, scales, biases, ints, nonlinearity] = state;
  check_state_version(version, kVersion, "PackedRnn");
  TORCH_CHECK(ints.size() == 3 && (ints[1] == 0 || ints[1] == 1) && (ints[2] == 0 || ints[2] == 1),
              "PackedRnn: the saved configuration is damaged; save the model again");
  return c10::make_intrusive<PackedRnn>(RnnDefinition{std::move(weights), std::move(scales),
                                                      std::move(biases), ints[0], ints[1] == 1,
                                                      ints[2] == 1, std::move(nonlinearity)});
}

at::Tensor PackedRnn::run_direction(const at::Tensor& x, const at::Tensor& h0, size_t index,
                                    bool reverse, at::Tensor& y) const {
  const at::Tensor gates = input_[index].run(x, {});
  at::Tensor h = h0;
  const int64_t time = x.size(0);
  for (int64_t i = 0; i < time; ++i) {
    const int64_t t = reverse ? time - 1 - i : i;
    h = hidden_[index].run(h, {gates[t]});
    y[t].copy_(h);
  }
  return h;
}

std::tuple<at::Tensor, at::Tensor> PackedRnn::run(const at::Tensor& x_in, const at::Tensor& h0_in,
                                                  bool batches_first) const {
  check_tensor(x_in, at::kFloat, "rnn", "x");
  check_tensor(h0_in, at::kFloat, "rnn", "h0");
  const int64_t features = input_[0].in_features();
  TORCH_CHECK(x_in.dim() == 2 || x_in.dim() == 3, "rnn: x must have 3 dimensions, or 2 when ",
              "unbatched, got shape ", x_in.sizes());
  TORCH_CHECK(x_in.size(-1) == features, "rnn: x must have ", features,
              " features in its last dimension, got shape ", x_in.sizes());
  const bool batched = x_in.dim() == 3;
  const bool batch_first = batched && batches_first;
  at::Tensor x = !batched ? x_in.unsqueeze(1) : batch_first ? x_in.transpose(0, 1) : x_in;
  TORCH_CHECK(x.size(0) > 0, "rnn: the sequence must not be empty, got shape ", x_in.sizes());
  const int64_t units = hidden_[0].in_features();
  const int64_t directions = definition_.bidirectional ? 2 : 1;
  std::vector<int64_t> state_shape = {definition_.num_layers * directions, x.size(1), units};
  if (!batched) state_shape.erase(state_shape.begin() + 1);
  TORCH_CHECK(h0_in.sizes() == at::IntArrayRef(state_shape), "rnn: h0 must have shape ",
              at::IntArrayRef(state_shape), ", got ", h0_in.sizes());
  const at::Tensor h0 = batched ? h0_in : h0_in.unsqueeze(1);

  std::vector<at::Tensor> last;
  for (int64_t layer = 0; layer < definition_.num_layers; ++layer) {
    at::Tensor y = empty({x.size(0), x.size(1), directions * units}, at::kFloat);
    for (int64_t d = 0; d < directions; ++d) {
      const int64_t index = layer * directions + d;
      at::Tensor part = y.narrow(2, d * units, units);
      last.push_back(run_direction(x, h0[index], static_cast<size_t>(index), d == 1, part));
    }
    x = y;
  }
  at::Tensor hn = at::stack(last);
  if (!batched) return std::make_tuple(x.squeeze(1), hn.squeeze(1));
  return std::make_tuple(batch_first ? x.transpose(0, 1).contiguous() : x, hn);
}

void register_packed_rnn(torch::Library& m) {
  m.class_<PackedRnn>("PackedRnn")
      .def_pickle([](const c10::intrusive_ptr<PackedRnn>& self) { return self->state(); },
                  [](PackedRnn::State state) { return PackedRnn::from_state(std::move(state)); });
}

}  // namespace ipex_quant::runtime
