/// \file
/// Sums of a tile to bytes on AVX-512: the end of the forms kQuantize and kAddU8Quantize.
///
/// What it costs is multiplications: they and vpdpbusd share two ports. So a vector of scales is
/// loaded once for all rows, and work that an epilogue can do without is left out when it is
/// compiled: see ByteCase in to_bytes.h.
///
/// Include it from ISA files with AVX-512 only (see simd.h).
#pragma once

#include "kernels/gemm/tile.h"
#include "kernels/to_bytes.h"

namespace ipex_quant::kernels {
namespace {

/// Words of one row of NV <= 4 vectors, two vectors in a register; packs works within 128 bits.
template <ByteCase Case, int NV>
inline IQ_INLINE void to_words(const I32 (&t)[NV], __m512i zero_point, __m512i& low,
                               __m512i& high) {
  low = _mm512_packs_epi32(t[0].v, t[NV > 1 ? 1 : 0].v);
  if (NV > 2) high = _mm512_packs_epi32(t[2 % NV].v, t[NV > 3 ? 3 : 2 % NV].v);
  if (Case != ByteCase::kWhole) {
    low = _mm512_adds_epi16(low, zero_point);
    if (NV > 2) high = _mm512_adds_epi16(high, zero_point);
  }
}

/// Bytes of the vectors a, b (words `low`) and c, d (words `high`), one vector behind the other. A
/// NaN, which is INT32_MIN in the words, becomes the lower bound.
template <ByteCase Case>
inline IQ_INLINE __m512i to_bytes(__m512i low, __m512i high, const ToBytes& to) {
  // 128-bit lanes hold elements 0-3 of a, b, c, d; then 4-7, and so on.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
  if (Case == ByteCase::kWhole) return bytes;
  const __m512i most = _mm512_set1_epi8(static_cast<char>(to.high));
  const __m512i least = _mm512_set1_epi8(static_cast<char>(to.low));
  return _mm512_min_epu8(_mm512_max_epu8(bytes, least), most);
}

/// Stores MR rows of NV rounded vectors.
/// \tparam Full  all columns are stored
template <ByteCase Case, bool Full, int MR, int NV>
inline IQ_INLINE void store_rows(const I32 (&t)[MR][NV], const ToBytes& to, int64_t columns,
                                 uint8_t* const (&out)[MR]) {
  const __m512i zero_point = _mm512_set1_epi16(static_cast<int16_t>(to.zero_point));
  if constexpr (NV <= 2) {
    // Two rows at the price of one.
    const auto mask = static_cast<__mmask32>(0xffffffffu >> (32 - columns));
    const auto store_row = [&](uint8_t* p, __m256i bytes) IQ_INLINE {
      if (Full && NV == 2) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bytes);
      } else if (Full) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(bytes));
      } else {
        _mm256_mask_storeu_epi8(p, mask, bytes);
      }
    };
    __m512i words[MR];
    unroll<MR>([&](auto r) IQ_INLINE {
      constexpr int kRow = decltype(r)::value;
      __m512i unused;
      to_words<Case, NV>(t[kRow], zero_point, words[kRow], unused);
      if constexpr (kRow % 2 == 1) {
        const __m512i bytes = to_bytes<Case>(words[kRow - 1], words[kRow], to);
        store_row(out[kRow - 1], _mm512_castsi512_si256(bytes));
        store_row(out[kRow], _mm512_extracti64x4_epi64(bytes, 1));
      } else if constexpr (kRow == MR - 1) {
        const __m512i bytes = to_bytes<Case>(words[kRow], words[kRow], to);
        store_row(out[kRow], _mm512_castsi512_si256(bytes));
      }
    });
  } else {
    const uint64_t mask = ~uint64_t{0} >> (64 - columns);
    unroll<MR>([&](auto r) IQ_INLINE {
      constexpr int kRow = decltype(r)::value;
      __m512i low;
      __m512i high;
      to_words<Case, NV>(t[kRow], zero_point, low, high);
      const __m512i bytes = to_bytes<Case>(low, high, to);
      if (Full && NV == 4) {
        _mm512_storeu_si512(out[kRow], bytes);
      } else {
        _mm512_mask_storeu_epi8(out[kRow], mask, bytes);
      }
    });
  }
}

/// Finishes MR rows from `row` on, times NV vectors of columns from column `first` of the block on,
/// of which `columns` are stored.
/// \tparam Add  the form is kAddU8Quantize, else kQuantize
template <ByteCase Case, bool Full, bool Add, int MR, int NV>
inline IQ_INLINE void finish_bytes(const GemmTile& tile, int64_t row, int first, int64_t columns,
                                   const I32 (&acc)[MR][NV]) {
  const EpiloguePlan& plan = *tile.epilogue;
  const ToBytes to(plan);
  const int64_t col = tile.col + first;
  uint8_t* out[MR];
  const uint8_t* other[MR];
  unroll<MR>([&](auto r) IQ_INLINE {
    const int64_t dst_row = tile.dst_rows[row + r];
    out[r] = static_cast<uint8_t*>(tile.dst) + dst_row * tile.dst_stride + col;
    if (Add) {
      other[r] = static_cast<const uint8_t*>(plan.tensors[0].data) +
                 dst_row * plan.tensors[0].row_stride + col;
    }
  });
  const F32 other_scale = set1(plan.chain.ops[0].a);
  const I32 other_zero_point = set1i(plan.chain.ops[0].zero_point);
  I32 t[MR][NV];
  unroll<NV>([&](auto v) IQ_INLINE {
    const F32 scale = load(tile.scale + first + v * kLanes);
    const F32 bias = load(tile.bias + first + v * kLanes);
    const int64_t left = columns - v * kLanes;
    const auto mask = static_cast<__mmask16>(left <= 0 ? 0 : left < kLanes ? (1 << left) - 1 : ~0);
    unroll<MR>([&](auto r) IQ_INLINE {
      F32 y = fma(to_float(acc[r][v]), scale, bias);
      if (Add) {
        const uint8_t* p = other[r] + v * kLanes;
        const I32 q = Full ? load_u8(p) : I32{_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, p))};
        y = add(y, mul(to_float(sub(q, other_zero_point)), other_scale));
      }
      t[r][v] = to.template round<Case != ByteCase::kAny>(y);
    });
  });
  store_rows<Case, Full>(t, to, columns, out);
}

/// The same for what is known when the program runs.
template <bool Add, int MR, int NV>
inline IQ_INLINE void finish_bytes(const GemmTile& tile, int64_t row, int first, int64_t columns,
                                   const I32 (&acc)[MR][NV], ByteCase known) {
  const bool full = columns == NV * kLanes;
  if (full && known == ByteCase::kWhole) {
    finish_bytes<ByteCase::kWhole, true, Add>(tile, row, first, columns, acc);
  } else if (full && known == ByteCase::kBounded) {
    finish_bytes<ByteCase::kBounded, true, Add>(tile, row, first, columns, acc);
  } else {
    finish_bytes<ByteCase::kAny, false, Add>(tile, row, first, columns, acc);
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
