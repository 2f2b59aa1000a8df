/// \file
/// The class PackedEmbedding: an int8 table of ipex_quant::embedding and embedding_bag.
#pragma once

#include <torch/custom_class.h>

#include <string>
#include <tuple>

#include "kernels/embedding/embedding.h"
#include "kernels/epilogue.h"

namespace ipex_quant::runtime {

/// An int8 table with one scale, or one per row, and what happens to its rows.
class PackedEmbedding : public torch::CustomClassHolder {
 public:
  /// Version, weight, weight_scale, epilogue.
  using State = std::tuple<int64_t, at::Tensor, at::Tensor, std::string>;

  /// \param weight        int8 [rows, dim]
  /// \param weight_scale  float32, 1 or `rows` elements
  /// \throws c10::Error when these do not fit, a scale is not finite and positive, or the epilogue
  /// is
  ///         ill-formed or reads a tensor.
  PackedEmbedding(const at::Tensor& weight, const at::Tensor& weight_scale,
                  const std::string& epilogue);

  /// \param indices int32 or int64 of any shape; an index out of range is an error
  /// \returns indices.shape + [dim], float32 or uint8
  at::Tensor lookup(const at::Tensor& indices) const;

  /// Shapes, modes and padding as torch.nn.functional.embedding_bag; padding_idx -1: none.
  /// \returns [bags, dim], float32 or uint8
  at::Tensor lookup_bags(const at::Tensor& indices, const std::optional<at::Tensor>& offsets,
                         int64_t mode, const std::optional<at::Tensor>& per_sample_weights,
                         bool include_last_offset, int64_t padding_idx) const;

  State state() const;

 private:
  int64_t rows() const { return weight_.size(0); }
  kernels::EmbeddingTable table() const;
  at::Tensor make_output(std::vector<int64_t> sizes) const;

  at::Tensor weight_;
  at::Tensor scale_;
  kernels::Epilogue epilogue_;
};

}  // namespace ipex_quant::runtime
