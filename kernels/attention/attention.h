/// \file
/// Attention in one pass: scores, softmax and the product with the values, block by block.
///
/// For each batch (a head of a sequence) and each block of queries
///
///   s = scores(q_scale * key_scale * sum over k of (q - q_zero_point) * (key - key_zero_point))
///   p = quantize(softmax(s))
///   dst = epilogue(p_scale * value_scale * sum over n of (p - p_zero_point) * (v - v_zero_point))
///
/// where the scores and probabilities of a block stay in the caches. Every step is that of matmul
/// and softmax, so the bits are those of the three operators one after the other.
#pragma once

#include <cstdint>

#include "kernels/epilogue_plan.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace ipex_quant::kernels {

/// A uint8 matrix as the right operand of a product, [batches] of them.
struct AttentionMatrix {
  const uint8_t* const* data;  ///< [batches] first elements
  int64_t k_stride;            ///< bytes along the summed dimension; this or n_stride is 1
  int64_t n_stride;
  int32_t zero_point;  ///< 0..255
};

/// What happens to a product, with the tensors that it reads: [batches][tensors_per_batch].
struct AttentionEpilogue {
  float scale;  ///< product of the scales of both operands
  Epilogue chain;
  const PostOpTensor* tensors;  ///< may be null when there are none
  int64_t tensors_per_batch;
};

/// m queries, n keys and values; k elements of a query and a key, d of a value.
struct AttentionArgs {
  int64_t batches, m, n, k, d;
  const uint8_t* const* q;   ///< [batches] m x k; elements of a row are adjacent
  int64_t q_row_stride;      ///< bytes
  int32_t q_zero_point;      ///< 0..255
  AttentionMatrix key;       ///< k x n: the keys, transposed
  AttentionEpilogue scores;  ///< no quantize; tensors are m x n
  float p_inv_scale;         ///< 1 / scale of the probabilities, rounded to float once
  int32_t p_zero_point;      ///< 0..255
  AttentionMatrix value;     ///< n x d
  AttentionEpilogue output;  ///< tensors are m x d
  void* const* dst;          ///< [batches] m x d, uint8 or float by the output's chain
  int64_t dst_row_stride;    ///< elements
};

void attention(const AttentionArgs& args, Features features, const Parallel& parallel);

}  // namespace ipex_quant::kernels
