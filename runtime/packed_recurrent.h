/// \file
/// PackedLstm and PackedGru: checked and packed weights of a whole recurrent module.
#pragma once

#include <torch/custom_class.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/epilogue.h"
#include "kernels/recurrent/recurrent.h"

namespace ipex_quant::runtime {

/// What defines a packed module, as the user gave it and as it is saved.
struct RecurrentDefinition {
  std::vector<at::Tensor> weights;  ///< s8: per layer and direction w_ih [G*H, in], w_hh [G*H, H]
  std::vector<at::Tensor> weight_scales;  ///< f32, 1 or G*H values, one tensor per weight
  std::vector<at::Tensor> biases;         ///< f32 [G*H] b_ih, b_hh likewise, or empty
  int64_t num_layers;
  bool bidirectional;
  bool batch_first;
  double x_scale;  ///< 0: x is float and quantized per row at run time
  int64_t x_zero_point;
  std::string epilogue;  ///< "" or "quantize(scale,zero_point)"
};

/// Pickled form: version, the three lists, {num_layers, bidirectional, batch_first}, the rest.
using RecurrentState =
    std::tuple<int64_t, std::vector<at::Tensor>, std::vector<at::Tensor>, std::vector<at::Tensor>,
               std::vector<int64_t>, double, int64_t, std::string>;

/// Result of a run; cn is undefined for a GRU.
struct RecurrentResult {
  at::Tensor y;
  at::Tensor hn;
  at::Tensor cn;
};

/// An immutable packed recurrent module. Numerics: kernels/recurrent/recurrent.h.
class PackedRecurrent {
 public:
  /// \throws c10::Error when anything in the definition is wrong.
  PackedRecurrent(kernels::CellKind cell, RecurrentDefinition definition);

  /// x [T, B, in], [B, T, in] when batch_first, or unbatched [T, in]; states as torch has them,
  /// undefined ones are zero.
  /// \throws c10::Error for a wrong dtype, rank, feature count or state shape, and for T = 0.
  RecurrentResult run(const at::Tensor& x, const at::Tensor& h0, const at::Tensor& c0) const {
    return run(x, h0, c0, definition_.batch_first);
  }
  /// The same for x [T, B, in], whatever batch_first is.
  RecurrentResult run_time_major(const at::Tensor& x, const at::Tensor& h0,
                                 const at::Tensor& c0) const {
    return run(x, h0, c0, false);
  }

  RecurrentState state() const;
  static RecurrentDefinition definition_of(kernels::CellKind cell, RecurrentState state);

 private:
  RecurrentResult run(const at::Tensor& x, const at::Tensor& h0, const at::Tensor& c0,
                      bool batch_first) const;

  RecurrentDefinition definition_;
  kernels::Epilogue epilogue_;
  kernels::RecurrentModel model_;
};

struct PackedLstm : torch::CustomClassHolder {
  static constexpr kernels::CellKind kCell = kernels::CellKind::kLstm;
  explicit PackedLstm(RecurrentDefinition definition) : packed(kCell, std::move(definition)) {}
  PackedRecurrent packed;
};

struct PackedGru : torch::CustomClassHolder {
  static constexpr kernels::CellKind kCell = kernels::CellKind::kGru;
  explicit PackedGru(RecurrentDefinition definition) : packed(kCell, std::move(definition)) {}
  PackedRecurrent packed;
};

}  // namespace ipex_quant::runtime
