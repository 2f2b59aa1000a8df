/// \file
/// Rows of an int8 table by index, alone or reduced in bags.
#pragma once

#include <cstdint>

#include "kernels/epilogue_plan.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace ipex_quant::kernels {

/// An int8 table; row r stands for weight[r][i] * scales[r * scale_stride].
struct EmbeddingTable {
  const int8_t* weight;  ///< [rows][dim]
  int64_t dim;
  const float* scales;
  int64_t scale_stride;  ///< 1: a scale per row; 0: one for all
};

/// dst[i] = epilogue(table[indices[i]]) for begin <= i < end. Indices are in range.
struct EmbeddingArgs {
  EmbeddingTable table;
  const int64_t* indices;
  int64_t begin, end;
  EpiloguePlan epilogue;
  void* dst;  ///< [..][dim], uint8 or float by the epilogue
};

enum class BagMode : uint8_t { kSum, kMean, kMax };

/// dst[b] = epilogue(reduction of table[indices[offsets[b] .. offsets[b + 1])]) for begin <= b <
/// end.
///
/// In order: sum = fma(weight, scale * per_sample, sum), or the larger of the values; the mean
/// divides the sum by the number of rows. A bag without rows gives 0.
struct EmbeddingBagArgs {
  EmbeddingTable table;
  const int64_t* indices;
  const int64_t* offsets;   ///< [bags + 1]
  const float* per_sample;  ///< a factor per index, or null
  int64_t padding_index;    ///< rows left out and not counted; -1: none
  BagMode mode;
  int64_t begin, end;
  EpiloguePlan epilogue;
  void* dst;  ///< [bags][dim], uint8 or float by the epilogue
};

/// Runs args.begin .. args.end on the threads.
void embedding(const EmbeddingArgs& args, Features features, const Parallel& parallel);
void embedding_bag(const EmbeddingBagArgs& args, Features features, const Parallel& parallel);

}  // namespace ipex_quant::kernels
