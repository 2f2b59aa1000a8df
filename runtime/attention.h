/// \file
/// The class PackedAttention: what ipex_quant::attention needs beside its operands.
#pragma once

#include <torch/custom_class.h>

#include <string>
#include <tuple>

#include "kernels/epilogue.h"

namespace ipex_quant::runtime {

/// softmax(scores of q and k) times v, of uint8 tensors with given scales and zero points.
class PackedAttention : public torch::CustomClassHolder {
 public:
  struct QParams {
    double scale;
    int64_t zero_point;
  };
  /// Version; scale and zero point of q, k, the probabilities and v; chain of the scores; epilogue.
  using State = std::tuple<int64_t, double, int64_t, double, int64_t, double, int64_t, double,
                           int64_t, std::string, std::string>;

  /// \param scores    steps on the scores before softmax, without quantize
  /// \param epilogue  steps on the result
  /// \throws c10::Error for a bad scale or zero point, or an ill-formed chain.
  PackedAttention(const QParams& q, const QParams& k, const QParams& p, const QParams& v,
                  const std::string& scores, const std::string& epilogue);

  /// The bits of matmul(softmax(matmul(q, k)), v) of the int8 operators; any strides.
  ///
  /// \param q              [batch..., m, k]
  /// \param k              [batch..., k, n]: transposed, as matmul takes it
  /// \param v              [batch..., n, d]
  /// \param score_tensors  one per tensor-reading step of the scores; broadcast to [batch..., m, n]
  /// \param others         one per tensor-reading step of the epilogue, to [batch..., m, d]
  /// \return [batch..., m, d], dense, its dimensions in memory in the order of those of q: where
  ///         the heads of q are interleaved, those of the result are
  at::Tensor run(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                 at::TensorList score_tensors, at::TensorList others) const;

  State state() const;

 private:
  QParams q_;
  QParams k_;
  QParams p_;
  QParams v_;
  kernels::Epilogue scores_;
  kernels::Epilogue epilogue_;
};

}  // namespace ipex_quant::runtime
