/// \file
/// The end of a tile: sums that stand in registers get their epilogue and are stored.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/epilogue_apply.h"
#include "kernels/gemm/tile.h"
#include "kernels/to_bytes.h"
#include "kernels/unroll.h"
#if defined(__AVX512F__)
#include "kernels/gemm/finish_bytes.h"
#endif

namespace ipex_quant::kernels {
namespace {

#if defined(__AVX512F__)
constexpr bool kMasked = true;  ///< loads and stores of a part of a vector cost nothing extra
#else
constexpr bool kMasked = false;
#endif

#if defined(__AVX2__) && !defined(__AVX512F__)

/// Stores two rounded vectors as 16 bytes. A NaN, which is INT32_MIN now, becomes the lower bound.
template <int NV>
inline IQ_INLINE void store_bytes(uint8_t* out, const I32 (&t)[NV], const ToBytes& to, int64_t) {
  static_assert(NV == 2, "one store is 16 columns");
  const __m256i z = _mm256_set1_epi16(static_cast<int16_t>(to.zero_point));
  // packs works within 128-bit halves: columns 0-3 8-11 | 4-7 12-15.
  const __m256i words =
      _mm256_permute4x64_epi64(_mm256_adds_epi16(_mm256_packs_epi32(t[0].v, t[1].v), z), 0xd8);
  __m128i bytes =
      _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  bytes = _mm_max_epu8(bytes, _mm_set1_epi8(static_cast<char>(to.low)));
  bytes = _mm_min_epu8(bytes, _mm_set1_epi8(static_cast<char>(to.high)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
}

#elif !defined(__AVX2__)

template <int NV>
inline void store_bytes(uint8_t* out, const I32 (&t)[NV], const ToBytes& to, int64_t columns) {
  for (int64_t i = 0; i < columns; ++i) {
    const int64_t q = int64_t{t[i].v} + to.zero_point;
    out[i] = static_cast<uint8_t>(q < to.low ? to.low : q > to.high ? to.high : q);
  }
}

#endif

/// Columns of vector v that are stored, 0..kLanes.
inline IQ_INLINE int64_t columns_of(int64_t columns, int v) {
  const int64_t left = columns - v * kLanes;
  return left < 0 ? 0 : left < kLanes ? left : kLanes;
}

/// Finishes a tile whose results stand in `y`, any epilogue. It is one call for all rows: values
/// that live across a call cannot stay in registers, and would be on the stack for every epilogue
/// then.
__attribute__((noinline)) void finish_tile(const GemmTile& tile, const int64_t* dst_rows, int rows,
                                           float* y, int64_t stride, int64_t columns, int64_t col) {
  const bool raw = tile.epilogue->form == EpilogueForm::kAccumulator;
  if (!raw) apply_chain(*tile.epilogue, y, rows, stride, columns, dst_rows, col);
  for (int r = 0; r < rows; ++r, y += stride) {
    const int64_t at = dst_rows[r] * tile.dst_stride + col;
    if (raw) {
      std::memcpy(static_cast<int32_t*>(tile.dst) + at, y, static_cast<size_t>(columns) * 4);
      continue;
    }
    void* out = tile.epilogue->chain.quantize
                    ? static_cast<void*>(static_cast<uint8_t*>(tile.dst) + at)
                    : static_cast<void*>(static_cast<float*>(tile.dst) + at);
    store_row(*tile.epilogue, y, columns, out);
  }
}

/// sum * scale + bias.
inline IQ_INLINE F32 scaled(I32 sum, const float* scale, const float* bias) {
  return fma(to_float(sum), load(scale), load(bias));
}

/// What is known about the bytes of NV vectors of columns from column `first` of the block on.
template <int NV>
inline ByteCase known_bytes(const GemmTile& tile, int first) {
  const EpiloguePlan& plan = *tile.epilogue;
  const bool add = plan.form == EpilogueForm::kAddU8Quantize;
  if (!add && plan.form != EpilogueForm::kQuantize) return ByteCase::kAny;
  const ToBytes to(plan);
  const float more = add ? 255 * __builtin_fabsf(plan.chain.ops[0].a) : 0;
  return to.known(to.bounded(tile.scale + first, tile.bias + first, NV * kLanes, more));
}

#if !defined(__AVX512F__)

/// Finishes MR rows from `row` on, times NV vectors of columns from column `first` of the block on.
/// \tparam Add  the form is kAddU8Quantize, else kQuantize
template <bool Add, int MR, int NV>
inline IQ_INLINE void finish_bytes(const GemmTile& tile, int64_t row, int first, int64_t columns,
                                   const I32 (&acc)[MR][NV], ByteCase known) {
  const EpiloguePlan& plan = *tile.epilogue;
  const ToBytes to(plan);
  const float* scale = tile.scale + first;
  const float* bias = tile.bias + first;
  const int64_t col = tile.col + first;
  const F32 other_scale = set1(plan.chain.ops[0].a);
  const I32 other_zero_point = set1i(plan.chain.ops[0].zero_point);
  const auto finish = [&](auto is_bounded) IQ_INLINE {
    constexpr bool kBounded = decltype(is_bounded)::value != 0;
    unroll<MR>([&](auto r) IQ_INLINE {
      const int64_t dst_row = tile.dst_rows[row + r];
      I32 t[NV];
      unroll<NV>([&](auto v) IQ_INLINE {
        F32 y = scaled(acc[r][v], scale + v * kLanes, bias + v * kLanes);
        if (Add) {
          const PostOpTensor& tensor = plan.tensors[0];
          const uint8_t* other = static_cast<const uint8_t*>(tensor.data) +
                                 dst_row * tensor.row_stride + col + v * kLanes;
          const I32 q = load_u8_some(other, columns_of(columns, v));
          y = add(y, mul(to_float(sub(q, other_zero_point)), other_scale));
        }
        t[v] = to.template round<kBounded>(y);
      });
      store_bytes<NV>(static_cast<uint8_t*>(tile.dst) + dst_row * tile.dst_stride + col, t, to,
                      columns);
    });
  };
  if (known == ByteCase::kAny) {
    finish(Index<0>());
  } else {
    finish(Index<1>());
  }
}

#endif

/// Finishes scores (kScaleAddFloat): MR rows from `row` on, times NV vectors of columns from column
/// `first` of the block on.
/// \tparam Full  all columns are stored
template <bool Full, int MR, int NV>
inline IQ_INLINE void finish_scores(const GemmTile& tile, int64_t row, int first, int64_t columns,
                                    const I32 (&acc)[MR][NV]) {
  const EpiloguePlan& plan = *tile.epilogue;
  const PostOpTensor& tensor = plan.tensors[0];
  const int64_t col = tile.col + first;
  const F32 factor = set1(plan.factor);
  const auto finish = [&](auto adds) IQ_INLINE {
    unroll<NV>([&](auto v) IQ_INLINE {
      const F32 scale = load(tile.scale + first + v * kLanes);
      const F32 bias = load(tile.bias + first + v * kLanes);
      const int64_t count = Full ? kLanes : columns_of(columns, v);
      unroll<MR>([&](auto r) IQ_INLINE {
        const int64_t dst_row = tile.dst_rows[row + r];
        F32 y = mul(fma(to_float(acc[r][v]), scale, bias), factor);
        if constexpr (decltype(adds)::value != 0) {
          const float* other =
              static_cast<const float*>(tensor.data) + dst_row * tensor.row_stride + col;
          y = add(y, Full ? load(other + v * kLanes) : load_some(other + v * kLanes, count));
        }
        float* out = static_cast<float*>(tile.dst) + dst_row * tile.dst_stride + col + v * kLanes;
        if (Full) {
          store(out, y);
        } else {
          store_some(out, y, count);
        }
      });
    });
  };
  if (plan.adds) {
    finish(Index<1>());
  } else {
    finish(Index<0>());
  }
}

/// Asks for the lines that a sum with another tensor will read and write. Its rows lie too far
/// apart for the hardware to see what comes next, and there are twice as many as without it.
template <int MR, int NV>
inline IQ_INLINE void prefetch_operand(const GemmTile& tile, int64_t row, int first) {
  const EpiloguePlan& plan = *tile.epilogue;
  const bool adds_bytes = plan.form == EpilogueForm::kAddU8Quantize;
  const bool adds_floats = plan.form == EpilogueForm::kScaleAddFloat && plan.adds;
  if (NV * kLanes < 48 || !(adds_bytes || adds_floats)) return;
  const int64_t size = adds_bytes ? 1 : 4;
  const int64_t col = (tile.col + first) * size;
  const char* other = static_cast<const char*>(plan.tensors[0].data) + col;
  const char* dst = static_cast<const char*>(tile.dst) + col;
  unroll<MR>([&](auto r) IQ_INLINE {
    const int64_t dst_row = tile.dst_rows[row + r] * size;
    for (int64_t line = 0; line < NV * kLanes * size; line += 64) {
      __builtin_prefetch(other + dst_row * plan.tensors[0].row_stride + line);
      __builtin_prefetch(dst + dst_row * tile.dst_stride + line, 1);
    }
  });
}

/// Stores the sums of MR rows from `row` on, times NV vectors of columns from column `first` of the
/// block on.
/// \param known  known_bytes() of these columns, or kAny
template <int MR, int NV>
inline IQ_INLINE void store_tile(const GemmTile& tile, int64_t row, int first,
                                 const I32 (&acc)[MR][NV], ByteCase known) {
  const EpiloguePlan& plan = *tile.epilogue;
  const int64_t* dst_rows = tile.dst_rows + row;
  const int64_t left = tile.columns - first;
  const int64_t columns = left < NV * kLanes ? left : NV * kLanes;
  if (columns <= 0) return;
  const int64_t col = tile.col + first;
  const bool direct = kMasked || columns == NV * kLanes;
  const float* scale = tile.scale + first;
  const float* bias = tile.bias + first;
  if (direct && plan.form == EpilogueForm::kQuantize) {
    finish_bytes<false>(tile, row, first, columns, acc, known);
  } else if (direct && plan.form == EpilogueForm::kAddU8Quantize) {
    finish_bytes<true>(tile, row, first, columns, acc, known);
  } else if (direct && plan.form == EpilogueForm::kScaleAddFloat) {
    if (columns == NV * kLanes) {
      finish_scores<true>(tile, row, first, columns, acc);
    } else {
      finish_scores<false>(tile, row, first, columns, acc);
    }
  } else if (direct && plan.form == EpilogueForm::kFloat) {
    unroll<MR>([&](auto r) IQ_INLINE {
      float* out = static_cast<float*>(tile.dst) + dst_rows[r] * tile.dst_stride + col;
      unroll<NV>([&](auto v) IQ_INLINE {
        store_some(out + v * kLanes, scaled(acc[r][v], scale + v * kLanes, bias + v * kLanes),
                   columns_of(columns, v));
      });
    });
  } else {
    const bool raw = plan.form == EpilogueForm::kAccumulator;
    alignas(64) float y[MR][NV * kLanes < 16 ? 16 : NV * kLanes];
    unroll<MR>([&](auto r) IQ_INLINE {
      unroll<NV>([&](auto v) IQ_INLINE {
        store(&y[r][v * kLanes],
              raw ? as_float(acc[r][v]) : scaled(acc[r][v], scale + v * kLanes, bias + v * kLanes));
      });
    });
    finish_tile(tile, dst_rows, MR, y[0], sizeof(y[0]) / sizeof(float), columns, col);
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
