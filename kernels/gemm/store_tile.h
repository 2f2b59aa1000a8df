/// \file
/// The end of a tile: sums that stand in registers get their epilogue and are stored.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/epilogue_apply.h"
#include "kernels/gemm/tile.h"
#include "kernels/to_bytes.h"
#include "kernels/unroll.h"

namespace ipex_quant::kernels {
namespace {

#if defined(__AVX512F__)

/// Stores NV rounded vectors as `columns` bytes. A NaN, which is INT32_MIN now, becomes the lower
/// bound.
template <int NV>
inline IQ_INLINE void store_bytes(uint8_t* out, const I32 (&t)[NV], const ToBytes& to,
                                  int64_t columns) {
  const __m512i z = _mm512_set1_epi16(static_cast<int16_t>(to.zero_point));
  const __m512i a = t[0].v;
  const __m512i b = t[NV > 1 ? 1 : 0].v;
  const __m512i c = t[NV > 2 ? 2 : 0].v;
  const __m512i d = t[NV > 3 ? 3 : 0].v;
  const __m512i ab = _mm512_adds_epi16(_mm512_packs_epi32(a, b), z);
  const __m512i cd = NV > 2 ? _mm512_adds_epi16(_mm512_packs_epi32(c, d), z) : ab;
  // 128-bit lanes hold columns 0-3 of a, b, c, d; then 4-7, and so on.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(ab, cd));
  bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(static_cast<char>(to.low)));
  bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8(static_cast<char>(to.high)));
  if (NV == 4 && columns == 64) {
    _mm512_storeu_si512(out, bytes);
  } else {
    _mm512_mask_storeu_epi8(out, ~uint64_t{0} >> (64 - columns), bytes);
  }
}

/// Two rows of two rounded vectors at the price of one row of four.
inline IQ_INLINE void store_two_rows(uint8_t* out0, uint8_t* out1, const I32 (&t)[2][2],
                                     const ToBytes& to) {
  const __m512i z = _mm512_set1_epi16(static_cast<int16_t>(to.zero_point));
  const __m512i row0 = _mm512_adds_epi16(_mm512_packs_epi32(t[0][0].v, t[0][1].v), z);
  const __m512i row1 = _mm512_adds_epi16(_mm512_packs_epi32(t[1][0].v, t[1][1].v), z);
  // 128-bit lane l holds columns 4l..4l+3 of the four vectors, row 0 first.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(row0, row1));
  bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(static_cast<char>(to.low)));
  bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8(static_cast<char>(to.high)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out0), _mm512_castsi512_si256(bytes));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out1), _mm512_extracti64x4_epi64(bytes, 1));
}

#elif defined(__AVX2__)

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

#else

template <int NV>
inline void store_bytes(uint8_t* out, const I32 (&t)[NV], const ToBytes& to, int64_t columns) {
  for (int64_t i = 0; i < columns; ++i) {
    const int64_t q = int64_t{t[i].v} + to.zero_point;
    out[i] = static_cast<uint8_t>(q < to.low ? to.low : q > to.high ? to.high : q);
  }
}

#endif

#if defined(__AVX512F__)
constexpr bool kMasked = true;  ///< loads and stores of a part of a vector cost nothing extra
#else
constexpr bool kMasked = false;
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

/// Whether the columns of NV vectors from column `first` of the block on need no cut at int32.
template <int NV>
inline bool bounded_columns(const GemmTile& tile, int first) {
  return tile.epilogue->form == EpilogueForm::kQuantize &&
         ToBytes(*tile.epilogue).bounded(tile.scale + first, tile.bias + first, NV * kLanes);
}

/// Stores the sums of MR rows from `row` on, times NV vectors of columns from column `first` of the
/// block on.
/// \param bounded  bounded_columns() of these columns, or false
template <int MR, int NV>
inline IQ_INLINE void store_tile(const GemmTile& tile, int64_t row, int first,
                                 const I32 (&acc)[MR][NV], bool bounded) {
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
    const ToBytes to(plan);
    const auto finish = [&](auto is_bounded) IQ_INLINE {
      constexpr bool kBounded = decltype(is_bounded)::value != 0;
#if defined(__AVX512F__)
      if constexpr (NV == 2 && MR % 2 == 0) {
        if (columns == 2 * kLanes) {
          unroll<MR / 2>([&](auto pair) IQ_INLINE {
            I32 t[2][2];
            unroll<2>([&](auto r) IQ_INLINE {
              unroll<2>([&](auto v) IQ_INLINE {
                t[r][v] = to.template round<kBounded>(
                    scaled(acc[2 * pair + r][v], scale + v * kLanes, bias + v * kLanes));
              });
            });
            uint8_t* out = static_cast<uint8_t*>(tile.dst) + col;
            store_two_rows(out + dst_rows[2 * pair] * tile.dst_stride,
                           out + dst_rows[2 * pair + 1] * tile.dst_stride, t, to);
          });
          return;
        }
      }
#endif
      unroll<MR>([&](auto r) IQ_INLINE {
        I32 t[NV];
        unroll<NV>([&](auto v) IQ_INLINE {
          t[v] =
              to.template round<kBounded>(scaled(acc[r][v], scale + v * kLanes, bias + v * kLanes));
        });
        uint8_t* out = static_cast<uint8_t*>(tile.dst) + dst_rows[r] * tile.dst_stride + col;
        store_bytes<NV>(out, t, to, columns);
      });
    };
    if (bounded) {
      finish(Index<1>());
    } else {
      finish(Index<0>());
    }
  } else if (direct && plan.form == EpilogueForm::kAddU8Quantize) {
    const ToBytes to(plan);
    const F32 other_scale = set1(plan.chain.ops[0].a);
    const I32 other_zero_point = set1i(plan.chain.ops[0].zero_point);
    const PostOpTensor& tensor = plan.tensors[0];
    unroll<MR>([&](auto r) IQ_INLINE {
      const int64_t dst_row = dst_rows[r];
      const uint8_t* other =
          static_cast<const uint8_t*>(tensor.data) + dst_row * tensor.row_stride + col;
      I32 t[NV];
      unroll<NV>([&](auto v) IQ_INLINE {
        const I32 q = load_u8_some(other + v * kLanes, columns_of(columns, v));
        const F32 x = mul(to_float(sub(q, other_zero_point)), other_scale);
        t[v] = to.template round<false>(
            add(scaled(acc[r][v], scale + v * kLanes, bias + v * kLanes), x));
      });
      uint8_t* out = static_cast<uint8_t*>(tile.dst) + dst_row * tile.dst_stride + col;
      store_bytes<NV>(out, t, to, columns);
    });
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
