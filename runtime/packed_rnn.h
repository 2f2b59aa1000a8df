/// \file
/// A plain recurrent module (tanh or relu) of dynamic linears.
#pragma once

#include <vector>

#include "runtime/packed_dynamic_linear.h"

namespace ipex_quant::runtime {

/// What defines the module, as the user gave it and as it is saved.
struct RnnDefinition {
  std::vector<at::Tensor> weights;        ///< s8: per layer and direction w_ih [H, in], w_hh [H, H]
  std::vector<at::Tensor> weight_scales;  ///< f32, 1 or H values, one tensor per weight
  std::vector<at::Tensor> biases;         ///< f32 [H] b_ih, b_hh likewise, or empty
  int64_t num_layers;
  bool bidirectional;
  bool batch_first;
  std::string nonlinearity;  ///< "tanh" or "relu"
};

/// h[t] = act(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh), both products int8 with run-time row scales.
class PackedRnn : public torch::CustomClassHolder {
 public:
  /// Version, the three lists, {num_layers, bidirectional, batch_first}, nonlinearity.
  using State = std::tuple<int64_t, std::vector<at::Tensor>, std::vector<at::Tensor>,
                           std::vector<at::Tensor>, std::vector<int64_t>, std::string>;

  /// \throws c10::Error when anything in the definition is wrong.
  explicit PackedRnn(RnnDefinition definition);

  /// x float [T, B, in], [B, T, in] when batch_first, or unbatched [T, in]; h0 as torch has it.
  /// Returns y and hn. \throws c10::Error for a wrong dtype, rank, feature count or state shape.
  std::tuple<at::Tensor, at::Tensor> run(const at::Tensor& x, const at::Tensor& h0) const {
    return run(x, h0, definition_.batch_first);
  }
  /// The same for x [T, B, in], whatever batch_first is.
  std::tuple<at::Tensor, at::Tensor> run_time_major(const at::Tensor& x,
                                                    const at::Tensor& h0) const {
    return run(x, h0, false);
  }

  State state() const;
  static c10::intrusive_ptr<PackedRnn> from_state(State state);

 private:
  std::tuple<at::Tensor, at::Tensor> run(const at::Tensor& x, const at::Tensor& h0,
                                         bool batch_first) const;
  at::Tensor run_direction(const at::Tensor& x, const at::Tensor& h0, size_t index, bool reverse,
                           at::Tensor& y) const;

  RnnDefinition definition_;
  std::vector<PackedDynamicLinear> input_;   ///< per layer and direction
  std::vector<PackedDynamicLinear> hidden_;  ///< adds the input's part and applies the function
};

}  // namespace ipex_quant::runtime
