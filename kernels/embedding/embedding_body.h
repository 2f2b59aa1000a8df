/// \file
/// The bodies of the embedding kernels, for the ISA of the including file.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/embedding/embedding.h"
#include "kernels/epilogue_apply.h"

namespace ipex_quant::kernels {
namespace {

/// Columns that are reduced at once: few enough to stay in registers.
constexpr int kBagColumns = 4 * kLanes;
/// Rows that are fetched ahead: a large table is read from memory at random.
constexpr int64_t kFetchAhead = 8;

/// kLanes bytes, sign-extended.
inline I32 load_s8(const int8_t* p) {
#if defined(__AVX512F__)
  return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
#elif defined(__AVX2__)
  return {_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
#else
  return {static_cast<int32_t>(*p)};
#endif
}

/// `count` bytes sign-extended, zeros behind them.
inline I32 load_s8_some(const int8_t* p, int64_t count) {
  if (count == kLanes) return load_s8(p);
  int8_t buffer[kLanes] = {};
  std::memcpy(buffer, p, static_cast<size_t>(count));
  return load_s8(buffer);
}

/// Row `row` of the output, column `first` on.
inline void* output_at(void* dst, const EpiloguePlan& plan, int64_t row, int64_t dim,
                       int64_t first) {
  const int64_t at = row * dim + first;
  return plan.chain.quantize ? static_cast<void*>(static_cast<uint8_t*>(dst) + at)
                             : static_cast<void*>(static_cast<float*>(dst) + at);
}

inline void embedding_body(const EmbeddingArgs& args) {
  const EmbeddingTable& table = args.table;
  for (int64_t i = args.begin; i < args.end; ++i) {
    const int64_t index = args.indices[i];
    const int8_t* row = table.weight + index * table.dim;
    if (i + kFetchAhead < args.end) {
      __builtin_prefetch(table.weight + args.indices[i + kFetchAhead] * table.dim);
    }
    const F32 scale = set1(table.scales[index * table.scale_stride]);
    for (int64_t first = 0; first < table.dim; first += kEpilogueRow) {
      const int64_t left = table.dim - first;
      const int64_t columns = left < kEpilogueRow ? left : kEpilogueRow;
      void* out = output_at(args.dst, args.epilogue, i, table.dim, first);
      if (args.epilogue.form == EpilogueForm::kFloat) {
        for_vectors(columns, [&](int64_t c, int64_t n) {
          const F32 y = mul(to_float(load_s8_some(row + first + c, n)), scale);
          store_some(static_cast<float*>(out) + c, y, n);
        });
        continue;
      }
      alignas(64) float y[kEpilogueRow];
      for_vectors(columns, [&](int64_t c, int64_t n) {
        store(y + c, mul(to_float(load_s8_some(row + first + c, n)), scale));
      });
      finish_row(args.epilogue, y, columns, i, first, out);
    }
  }
}

/// One bag's columns [first, first + columns) into y; returns the number of rows it has.
///
/// \tparam kIsMax   the larger value instead of the sum
/// \tparam kIsFull  columns is kBagColumns
template <bool kIsMax, bool kIsFull>
inline int64_t reduce_bag(const EmbeddingBagArgs& args, int64_t bag, int64_t first, int64_t columns,
                          float* y) {
  const EmbeddingTable& table = args.table;
  const int64_t end = args.offsets[bag + 1];
  // A maximum starts below every value of a table: those are finite.
  const F32 start = set1(kIsMax ? -__builtin_inff() : 0.0f);
  F32 acc[4] = {start, start, start, start};
  int64_t count = 0;
  for (int64_t i = args.offsets[bag]; i < end; ++i) {
    const int64_t index = args.indices[i];
    if (i + kFetchAhead < end) {
      __builtin_prefetch(table.weight + args.indices[i + kFetchAhead] * table.dim + first);
    }
    if (index == args.padding_index) continue;
    const float row_scale = table.scales[index * table.scale_stride];
    const F32 factor = set1(args.per_sample ? row_scale * args.per_sample[i] : row_scale);
    const int8_t* row = table.weight + index * table.dim + first;
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const int64_t left = columns - v * kLanes;
      if (!kIsFull && left <= 0) break;
      const int64_t n = kIsFull || left > kLanes ? kLanes : left;
      const F32 w = to_float(load_s8_some(row + v * kLanes, n));
      acc[v] = kIsMax ? max(acc[v], mul(w, factor)) : fma(w, factor, acc[v]);
    }
    ++count;
  }
  const F32 zero = set1(0.0f);
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) store(y + v * kLanes, kIsMax && count == 0 ? zero : acc[v]);
  return count;
}

inline void embedding_bag_body(const EmbeddingBagArgs& args) {
  const int64_t dim = args.table.dim;
  for (int64_t bag = args.begin; bag < args.end; ++bag) {
    for (int64_t first = 0; first < dim; first += kBagColumns) {
      const int64_t columns = dim - first < kBagColumns ? dim - first : kBagColumns;
      alignas(64) float y[kBagColumns < 16 ? 16 : kBagColumns];
      const bool is_full = columns == kBagColumns;
      const bool is_max = args.mode == BagMode::kMax;
      const int64_t count = is_max    ? reduce_bag<true, false>(args, bag, first, columns, y)
                            : is_full ? reduce_bag<false, true>(args, bag, first, columns, y)
                                      : reduce_bag<false, false>(args, bag, first, columns, y);
      if (args.mode == BagMode::kMean && count > 0) {
        const F32 divisor = set1(static_cast<float>(count));
        map_row(y, columns, [&](F32 v) { return div(v, divisor); });
      }
      finish_row(args.epilogue, y, columns, bag, first,
                 output_at(args.dst, args.epilogue, bag, dim, first));
    }
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
