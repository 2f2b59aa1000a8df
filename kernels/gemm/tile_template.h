/// \file
/// The micro-kernel, written once on simd.h; each ISA file includes it with its own Dot.
///
/// Dot supplies the multiply-add of 4 uint8 with 4 int8 per int32 lane:
///   Dot::A Dot::load_a(const uint8_t*)   4 bytes, the same in every lane
///   Dot::B Dot::load_b(const int8_t*)    4 bytes per lane
///   void Dot::dot(I32& acc, A, B)        exact, wraps around modulo 2^32
///
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
  for (int r = 0; r < rows; ++r, y += stride) {
    const int64_t row = dst_rows[r];
    const int64_t at = row * tile.dst_stride + col;
    void* out = tile.epilogue->chain.quantize
                    ? static_cast<void*>(static_cast<uint8_t*>(tile.dst) + at)
                    : static_cast<void*>(static_cast<float*>(tile.dst) + at);
    finish_row(*tile.epilogue, y, columns, row, col, out);
  }
}

/// sum * scale + bias.
inline IQ_INLINE F32 scaled(I32 sum, const float* scale, const float* bias) {
  return fma(to_float(sum), load(scale), load(bias));
}

/// MR rows from `row` on, times NV vectors of columns from column `first` of the block on.
/// \param bounded  ToBytes::bounded() of these columns
template <class Dot, int MR, int NV>
void gemm_tile(const GemmTile& tile, int64_t row, int first, bool bounded) {
  // Few accumulators cannot hide the latency of the multiply-add: two sets take turns then.
  constexpr int kSets = MR * NV <= 6 ? 2 : 1;
  I32 acc[kSets][MR][NV];
  unroll<NV>([&](auto v) IQ_INLINE {
    const I32 start = load(tile.start + first + v * kLanes);
    unroll<MR>([&](auto r) IQ_INLINE {
      acc[0][r][v] = start;
      if (kSets > 1) acc[kSets - 1][r][v] = set1i(0);
    });
  });
  if (tile.row_start) {
    unroll<MR>([&](auto r) IQ_INLINE {
      const I32 more = set1i(tile.row_start[row + r]);
      unroll<NV>([&](auto v) IQ_INLINE { acc[0][r][v] = add(acc[0][r][v], more); });
    });
  }

  const int8_t* weight = tile.weight + first * 4;
  const int64_t weight_step = tile.width * 4;
  const uint8_t* const* rows = tile.rows + row;
  for (int64_t tap = 0; tap < tile.taps; ++tap, rows += tile.row_stride) {
    const uint8_t* a[MR];
    unroll<MR>([&](auto r) IQ_INLINE { a[r] = rows[r] + tile.row_offset; });
    const int64_t bytes = tile.steps * 4;
    int64_t k = 0;
    const auto step = [&](int64_t at, I32(&sums)[MR][NV]) IQ_INLINE {
      typename Dot::B b[NV];
      unroll<NV>([&](auto v) IQ_INLINE { b[v] = Dot::load_b(weight + v * kLanes * 4); });
      weight += weight_step;
      unroll<MR>([&](auto r) IQ_INLINE {
        const typename Dot::A x = Dot::load_a(a[r] + at);
        unroll<NV>([&](auto v) IQ_INLINE { Dot::dot(sums[r][v], x, b[v]); });
      });
    };
    if (kSets > 1) {
      for (; k + 8 <= bytes; k += 8) {
        step(k, acc[0]);
        step(k + 4, acc[kSets - 1]);
      }
      if (k < bytes) step(k, acc[0]);
    } else {
      for (; k < bytes; k += 4) step(k, acc[0]);
    }
  }
  if (kSets > 1) {
    unroll<MR>([&](auto r) IQ_INLINE {
      unroll<NV>([&](auto v) IQ_INLINE { acc[0][r][v] = add(acc[0][r][v], acc[kSets - 1][r][v]); });
    });
  }

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
      unroll<MR>([&](auto r) IQ_INLINE {
        I32 t[NV];
        unroll<NV>([&](auto v) IQ_INLINE {
          t[v] = to.template round<decltype(is_bounded){} != 0>(
              scaled(acc[0][r][v], scale + v * kLanes, bias + v * kLanes));
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
            add(scaled(acc[0][r][v], scale + v * kLanes, bias + v * kLanes), x));
      });
      uint8_t* out = static_cast<uint8_t*>(tile.dst) + dst_row * tile.dst_stride + col;
      store_bytes<NV>(out, t, to, columns);
    });
  } else if (direct && plan.form == EpilogueForm::kFloat) {
    unroll<MR>([&](auto r) IQ_INLINE {
      float* out = static_cast<float*>(tile.dst) + dst_rows[r] * tile.dst_stride + col;
      unroll<NV>([&](auto v) IQ_INLINE {
        store_some(out + v * kLanes, scaled(acc[0][r][v], scale + v * kLanes, bias + v * kLanes),
                   columns_of(columns, v));
      });
    });
  } else {
    alignas(64) float y[MR][NV * kLanes < 16 ? 16 : NV * kLanes];
    unroll<MR>([&](auto r) IQ_INLINE {
      unroll<NV>([&](auto v) IQ_INLINE {
        store(&y[r][v * kLanes], scaled(acc[0][r][v], scale + v * kLanes, bias + v * kLanes));
      });
    });
    finish_tile(tile, dst_rows, MR, y[0], sizeof(y[0]) / sizeof(float), columns, col);
  }
}

using TileFunction = void (*)(const GemmTile& tile, int64_t row, int first, bool bounded);

/// The function for 1..MR rows.
template <class Dot, int MR, int NV>
inline TileFunction tile_function(int64_t rows) {
  if constexpr (MR > 1) {
    return rows == MR ? gemm_tile<Dot, MR, NV> : tile_function<Dot, MR - 1, NV>(rows);
  } else {
    return gemm_tile<Dot, 1, NV>;
  }
}

/// All rows of the block in tiles of almost equal height, at most MR: a last tile of one row would
/// be bound by latency.
template <class Dot, int MR, int NV>
inline void gemm_rows(const GemmTile& tile, int first) {
  const bool bounded =
      tile.count >= MR && tile.epilogue->form == EpilogueForm::kQuantize &&
      ToBytes(*tile.epilogue).bounded(tile.scale + first, tile.bias + first, NV * kLanes);
  const int64_t tiles = (tile.count + MR - 1) / MR;
  const int64_t height = tile.count / tiles;
  const int64_t higher = tile.count % tiles;  // so many tiles have one row more
  TileFunction run = tile_function<Dot, MR, NV>(height + 1);
  int64_t row = 0;
  for (int64_t i = 0; i < higher; ++i, row += height + 1) run(tile, row, first, bounded);
  run = tile_function<Dot, MR, NV>(height);
  for (int64_t i = higher; i < tiles; ++i, row += height) run(tile, row, first, bounded);
}

}  // namespace
}  // namespace ipex_quant::kernels
