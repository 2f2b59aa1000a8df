/// \file
/// Kernels of three columns and at most four lines, bytes out: the interleaved columns stay in
/// registers and move on with the pixels, and serve two output rows where the stride is 1.
///
/// Include it from ISA files only.
#pragma once

#include "kernels/depthwise/columns.h"
#include "kernels/simd.h"
#include "kernels/to_bytes.h"

namespace ipex_quant::kernels {
namespace {

/// Channels of four vectors of words: as many bytes as a register has.
constexpr int64_t kStrip = 4 * kLanes;

#if defined(__AVX512F__)

constexpr bool kMasked = true;  ///< a part of a register is loaded and stored without a call

inline IQ_INLINE I32 load_strip(const uint8_t* p, int64_t count) {
  if (count == kStrip) return {_mm512_loadu_si512(p)};
  return {_mm512_maskz_loadu_epi8(~uint64_t{0} >> (64 - count), p)};
}

/// Four lines become NV vectors of words, in the order of the channels: unpacking works within 128
/// bits, so word l of each quarter goes to quarter l beforehand.
template <int NV>
inline IQ_INLINE void interleave_strip(const I32 (&lines)[4], I32 (&x)[NV]) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i p[4];
  unroll<4>([&](auto i) IQ_INLINE { p[i] = _mm512_permutexvar_epi32(order, lines[i].v); });
  const __m512i low01 = _mm512_unpacklo_epi8(p[0], p[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(p[2], p[3]);
  x[0] = {_mm512_unpacklo_epi16(low01, low23)};
  if constexpr (NV > 1) x[1] = {_mm512_unpackhi_epi16(low01, low23)};
  if constexpr (NV > 2) {
    const __m512i high01 = _mm512_unpackhi_epi8(p[0], p[1]);
    const __m512i high23 = _mm512_unpackhi_epi8(p[2], p[3]);
    x[2] = {_mm512_unpacklo_epi16(high01, high23)};
    if constexpr (NV > 3) x[3] = {_mm512_unpackhi_epi16(high01, high23)};
  }
}

/// How words become bytes, in registers.
/// \tparam Whole  ByteCase::kWhole
template <bool Whole>
struct Packer {
  __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i zero_point, low, high;

  explicit IQ_INLINE Packer(const ToBytes& to)
      : zero_point(_mm512_set1_epi16(static_cast<int16_t>(to.zero_point))),
        low(_mm512_set1_epi8(static_cast<char>(to.low))),
        high(_mm512_set1_epi8(static_cast<char>(to.high))) {}

  IQ_INLINE __m512i words(I32 a, I32 b) const {
    const __m512i sums = _mm512_packs_epi32(a.v, b.v);
    return Whole ? sums : _mm512_adds_epi16(sums, zero_point);
  }
  IQ_INLINE __m512i bytes(__m512i ab, __m512i cd) const {
    const __m512i q = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(ab, cd));
    return Whole ? q : _mm512_min_epu8(_mm512_max_epu8(q, low), high);
  }
  IQ_INLINE __m512i operator()(I32 a, I32 b, I32 c, I32 d) const {
    return bytes(words(a, b), words(c, d));
  }
  IQ_INLINE __m512i operator()(I32 a, I32 b) const {
    const __m512i ab = words(a, b);
    return bytes(ab, ab);
  }
};

/// Stores one pixel of each row; rows of at most two vectors share the packing.
template <int NV, int Rows, bool Whole>
inline IQ_INLINE void store_strip(uint8_t* const (&out)[2], const I32 (&t)[Rows][NV],
                                  const Packer<Whole>& pack, int64_t count) {
  constexpr int kLast = NV - 1;
  if constexpr (NV > 2) {
    unroll<Rows>([&](auto r) IQ_INLINE {
      const __m512i bytes = pack(t[r][0], t[r][1], t[r][2], t[r][kLast]);
      if (NV == 4 && count == kStrip) {
        _mm512_storeu_si512(out[r], bytes);
      } else {
        _mm512_mask_storeu_epi8(out[r], ~uint64_t{0} >> (64 - count), bytes);
      }
    });
  } else {
    const __m512i bytes = Rows == 1
                              ? pack(t[0][0], t[0][kLast])
                              : pack(t[0][0], t[0][kLast], t[Rows - 1][0], t[Rows - 1][kLast]);
    const __m256i low = _mm512_castsi512_si256(bytes);
    const auto mask = static_cast<__mmask32>(~uint32_t{0} >> (32 - count));
    if (count == 32) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out[0]), low);
    } else {
      _mm256_mask_storeu_epi8(out[0], mask, low);
    }
    if constexpr (Rows > 1) {
      const __m256i high = _mm512_extracti64x4_epi64(bytes, 1);
      if (count == 32) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out[1]), high);
      } else {
        _mm256_mask_storeu_epi8(out[1], mask, high);
      }
    }
  }
}

#else

constexpr bool kMasked = false;

inline IQ_INLINE I32 load_strip(const uint8_t* p, int64_t) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}

template <int NV>
inline IQ_INLINE void interleave_strip(const I32 (&lines)[4], I32 (&x)[NV]) {
  static_assert(NV == 4, "whole registers only");
  const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  __m256i p[4];
  unroll<4>([&](auto i) IQ_INLINE { p[i] = _mm256_permutevar8x32_epi32(lines[i].v, order); });
  const __m256i low01 = _mm256_unpacklo_epi8(p[0], p[1]);
  const __m256i high01 = _mm256_unpackhi_epi8(p[0], p[1]);
  const __m256i low23 = _mm256_unpacklo_epi8(p[2], p[3]);
  const __m256i high23 = _mm256_unpackhi_epi8(p[2], p[3]);
  x[0] = {_mm256_unpacklo_epi16(low01, low23)};
  x[1] = {_mm256_unpackhi_epi16(low01, low23)};
  x[2] = {_mm256_unpacklo_epi16(high01, high23)};
  x[3] = {_mm256_unpackhi_epi16(high01, high23)};
}

template <bool Whole>
struct Packer {
  __m256i zero_point, low, high;

  explicit IQ_INLINE Packer(const ToBytes& to)
      : zero_point(_mm256_set1_epi16(static_cast<int16_t>(to.zero_point))),
        low(_mm256_set1_epi8(static_cast<char>(to.low))),
        high(_mm256_set1_epi8(static_cast<char>(to.high))) {}
};

template <int NV, int Rows, bool Whole>
inline IQ_INLINE void store_strip(uint8_t* const (&out)[2], const I32 (&t)[Rows][NV],
                                  const Packer<Whole>& pack, int64_t) {
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  unroll<Rows>([&](auto r) IQ_INLINE {
    const __m256i ab = _mm256_packs_epi32(t[r][0].v, t[r][1].v);
    const __m256i cd = _mm256_packs_epi32(t[r][2].v, t[r][3].v);
    const __m256i words = _mm256_packus_epi16(_mm256_adds_epi16(ab, pack.zero_point),
                                              _mm256_adds_epi16(cd, pack.zero_point));
    const __m256i bytes = _mm256_permutevar8x32_epi32(words, order);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out[r]),
                        _mm256_min_epu8(_mm256_max_epu8(bytes, pack.low), pack.high));
  });
}

#endif

/// Output pixels that are computed together: they share the weights, which are read from memory
/// because there are more of them than registers.
constexpr int kSlidePixels = kMasked ? 2 : 1;

/// `Rows` output rows of `count` channels from `first` of the block on, NV vectors of words.
/// \tparam Whole  ByteCase::kWhole; else ByteCase::kBounded
template <class Dot, int NV, int Rows, int Stride, bool Whole>
__attribute__((noinline)) void slide(const DepthwiseBlock& b, int64_t first, int64_t count) {
  constexpr int kShare = Stride == 1 ? 2 : 1;  // as pack_depthwise_weight() does
  constexpr int kRowBytes = 3 * kUnitBytes;
  constexpr int kVectorsOfUnit = static_cast<int>(kDepthwiseUnit) / kLanes;
  constexpr int kNew = kSlidePixels * Stride;                // columns that are read next
  constexpr int kColumns = (kSlidePixels - 1) * Stride + 3;  // columns that are needed
  constexpr int kKept = kColumns - kNew;
  const int8_t* weight = b.weight + first / kDepthwiseUnit * kShare * kRowBytes;
  const int32_t* start = b.start + first;
  const float* scale = b.scale + first;
  const float* bias = b.bias + first;
  if (NV == 4) count = kMasked ? count : kStrip;
  const ToBytes to(*b.epilogue);
  const Packer<Whole> packer(to);

  const uint8_t* p[4];
  int64_t step[4];
  int64_t at = -b.pad;
  const int64_t width = b.width;
  unroll<4>([&](auto i) IQ_INLINE {
    step[i] = b.line_step[i];
    p[i] = b.lines[i] + first + at * step[i];
  });
  const auto column = [&](I32(&x)[NV]) IQ_INLINE {
    if (at >= 0 && at < width) {
      I32 lines[4];
      unroll<4>([&](auto i) IQ_INLINE { lines[i] = load_strip(p[i], count); });
      interleave_strip(lines, x);
    } else {
      const I32 border = set1i(static_cast<int32_t>(b.zero_point * 0x01010101U));
      unroll<NV>([&](auto v) IQ_INLINE { x[v] = border; });
    }
    ++at;
    unroll<4>([&](auto i) IQ_INLINE { p[i] += step[i]; });
  };

  uint8_t* out[2];
  out[0] = static_cast<uint8_t*>(b.dst) + b.dst_row * b.dst_stride + b.col + first;
  out[1] = out[0] + b.out_width * b.dst_stride;
  I32 x[kColumns][NV];
  unroll<kKept>([&](auto c) IQ_INLINE { column(x[kNew + c]); });
  for (int64_t i = 0; i < b.out_width; i += kSlidePixels) {
    unroll<kKept>(
        [&](auto c) IQ_INLINE { unroll<NV>([&](auto v) IQ_INLINE { x[c][v] = x[kNew + c][v]; }); });
    unroll<kNew>([&](auto c) IQ_INLINE { column(x[kKept + c]); });
    I32 t[kSlidePixels][Rows][NV];
    unroll<NV>([&](auto v) IQ_INLINE {
      constexpr int kUnit = decltype(v){} / kVectorsOfUnit;
      constexpr int kVector =
          kUnit * kShare * kRowBytes + decltype(v){} % kVectorsOfUnit * kLanes * 4;
      const I32 begin = load(start + v * kLanes);
      const F32 factor = load(scale + v * kLanes);
      const F32 more = load(bias + v * kLanes);
      unroll<Rows>([&](auto r) IQ_INLINE {
        const int8_t* w = weight + kVector + r * kRowBytes;
        I32 acc[kSlidePixels];
        unroll<kSlidePixels>([&](auto q) IQ_INLINE { acc[q] = begin; });
        unroll<3>([&](auto tap) IQ_INLINE {
          const typename Dot::B k = Dot::load_b(w + tap * kUnitBytes);
          unroll<kSlidePixels>(
              [&](auto q) IQ_INLINE { Dot::dot(acc[q], Dot::make_a(x[q * Stride + tap][v]), k); });
        });
        unroll<kSlidePixels>([&](auto q) IQ_INLINE {
          t[q][r][v] = to.template round<true>(fma(to_float(acc[q]), factor, more));
        });
      });
    });
    unroll<kSlidePixels>([&](auto q) IQ_INLINE {
      if (q > 0 && i + q >= b.out_width) return;
      store_strip<NV, Rows, Whole>(out, t[q], packer, count);
      unroll<2>([&](auto r) IQ_INLINE { out[r] += b.dst_stride; });
    });
  }
}

template <class Dot, int NV, bool Whole>
inline void slide_rows(const DepthwiseBlock& b, int64_t first, int64_t count) {
  if (b.stride == 2) return slide<Dot, NV, 1, 2, Whole>(b, first, count);
  if (b.rows == 2) return slide<Dot, NV, 2, 1, Whole>(b, first, count);
  return slide<Dot, NV, 1, 1, Whole>(b, first, count);
}

/// Whether slide_block() can do a block.
inline bool can_slide(const DepthwiseBlock& b) {
  if (b.epilogue->form != EpilogueForm::kQuantize || b.row_groups != 1 || b.columns != 3 ||
      b.dilation != 1 || b.stride > 2 || b.share != (b.stride == 1 ? 2 : 1)) {
    return false;
  }
  const int64_t padded = (b.channels + kDepthwiseUnit - 1) / kDepthwiseUnit * kDepthwiseUnit;
  return ToBytes(*b.epilogue).bounded(b.scale, b.bias, padded);
}

/// \return how many channels of the block are done, from the first on
template <class Dot, bool Whole>
inline int64_t slide_channels(const DepthwiseBlock& b) {
  int64_t first = 0;
  for (; first + kStrip <= b.channels; first += kStrip) slide_rows<Dot, 4, Whole>(b, first, kStrip);
  if constexpr (kMasked) {
    const int64_t count = b.channels - first;
    if (count > 48) {
      slide_rows<Dot, 4, Whole>(b, first, count);
    } else if (count > 32) {
      slide_rows<Dot, 3, Whole>(b, first, count);
    } else if (count > 16) {
      slide_rows<Dot, 2, Whole>(b, first, count);
    } else if (count > 0) {
      slide_rows<Dot, 1, Whole>(b, first, count);
    }
    return b.channels;
  }
  return first;
}

template <class Dot>
inline int64_t slide_block(const DepthwiseBlock& b) {
  const bool whole = kMasked && ToBytes(*b.epilogue).known(true) == ByteCase::kWhole;
  return whole ? slide_channels<Dot, kMasked>(b) : slide_channels<Dot, false>(b);
}

}  // namespace
}  // namespace ipex_quant::kernels
