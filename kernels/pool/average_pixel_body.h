/// \file
/// The body of the kernels of average pooling, for the ISA of the including file.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include <cstddef>

#include "kernels/epilogue_apply.h"
#include "kernels/pool/pixel.h"
#include "kernels/pool/pixel_bytes.h"
#include "kernels/unroll.h"

namespace ipex_quant::kernels {
namespace {

/// From sums of taps to bytes, ready in registers.
struct Average {
  I32 offset;
  F32 factor;
  F32 inv_scale;
  I32 zero_point;
  F32 lo;  ///< smallest rounded value before the zero point is added
  F32 hi;

  explicit Average(const AveragePixelArgs& args)
      : offset(set1i(args.offset)), factor(set1(args.factor)), inv_scale(set1(args.inv_scale)),
        zero_point(set1i(args.zero_point)), lo(set1(static_cast<float>(0 - args.zero_point))),
        hi(set1(static_cast<float>(255 - args.zero_point))) {}

  /// Lanes in 0..255. A NaN becomes lo: max() returns its second operand then.
  I32 operator()(I32 sum) const {
    const F32 y = mul(to_float(sub(sum, offset)), factor);
    return add(to_int(min(max(mul(y, inv_scale), lo), hi)), zero_point);
  }
};

#if defined(__AVX2__)

#if defined(__AVX512F__)
inline __m512i add_words(__m512i a, __m512i b) { return _mm512_add_epi16(a, b); }
inline __m512i sub_words(__m512i a, __m512i b) { return _mm512_sub_epi16(a, b); }
inline __m512i high_bytes(__m512i x) { return _mm512_srli_epi16(x, 8); }
inline __m512i to_high_bytes(__m512i x) { return _mm512_slli_epi16(x, 8); }
inline I32 shift_right(__m512i x, int n) {
  return {_mm512_srli_epi32(x, static_cast<unsigned>(n))};
}
#else
inline __m256i add_words(__m256i a, __m256i b) { return _mm256_add_epi16(a, b); }
inline __m256i sub_words(__m256i a, __m256i b) { return _mm256_sub_epi16(a, b); }
inline __m256i high_bytes(__m256i x) { return _mm256_srli_epi16(x, 8); }
inline __m256i to_high_bytes(__m256i x) { return _mm256_slli_epi16(x, 8); }
inline I32 shift_right(__m256i x, int n) { return {_mm256_srli_epi32(x, n)}; }
#endif

/// Taps whose bytes add up to less than 2^16.
constexpr int64_t kTapsOfWords = 256;

/// Sums of a register of channels. A word holds two bytes, and what adds up of the words less 256
/// times what adds up of the high bytes is the sum of the low ones: three operations a tap.
struct ByteSums {
  BytesWide::Register words, high;
  I32 sums[4];  ///< sums[j] is of the channels 4 i + j

  IQ_INLINE ByteSums() : words(BytesWide::zero()), high(BytesWide::zero()) {
    unroll<4>([&](auto j) IQ_INLINE { sums[j] = set1i(0); });
  }
  IQ_INLINE void add_tap(const uint8_t* p) {
    BytesWide::Register q = BytesWide::load(p);
    asm("" : "+v"(q));  // GCC 12 would load it twice, as an operand of two instructions
    words = add_words(words, q);
    high = add_words(high, high_bytes(q));
  }
  /// At the latest after kTapsOfWords taps.
  IQ_INLINE void widen() {
    const I32 low_half = set1i(0xffff);
    const BytesWide::Register low = sub_words(words, to_high_bytes(high));
    sums[0] = add(sums[0], bit_and(I32{low}, low_half));
    sums[1] = add(sums[1], bit_and(I32{high}, low_half));
    sums[2] = add(sums[2], shift_right(low, 16));
    sums[3] = add(sums[3], shift_right(high, 16));
    words = high = BytesWide::zero();
  }
  IQ_INLINE void finish(const Average& average, uint8_t* dst) const {
    I32 bytes = average(sums[0]);
    unroll<3>([&](auto j) IQ_INLINE {
      bytes = bit_or(bytes, shift_left(average(sums[j + 1]), 8 * (j + 1)));
    });
    BytesWide::store(dst, bytes.v);
  }
};

/// `kBlocks` registers of channels of one pixel.
template <int kBlocks>
inline void average_blocks(const PixelTaps& taps, const Average& average, int64_t pixel,
                           int64_t c) {
  constexpr int64_t kWidth = sizeof(BytesWide::Register);
  ByteSums sums[kBlocks];
  int64_t room = kTapsOfWords;
  for (int64_t r = 0; r < taps.row_count; ++r) {
    const uint8_t* tap = taps.rows[r] + pixel * taps.step + c;
    for (int64_t k = 0; k < taps.columns;) {
      const int64_t left = taps.columns - k;
      const int64_t count = left < room ? left : room;
      k += count;
      room -= count;
      for (int64_t i = 0; i < count; ++i, tap += taps.column_step) {
        unroll<kBlocks>([&](auto b) IQ_INLINE { sums[b].add_tap(tap + b * kWidth); });
      }
      if (room > 0) continue;
      unroll<kBlocks>([&](auto b) IQ_INLINE { sums[b].widen(); });
      room = kTapsOfWords;
    }
  }
  uint8_t* dst = taps.dst + pixel * taps.channels + c;
  unroll<kBlocks>([&](auto b) IQ_INLINE {
    sums[b].widen();
    sums[b].finish(average, dst + b * kWidth);
  });
}

#endif

inline void average_pixel_body(const AveragePixelArgs& args) {
  const PixelTaps& taps = args.taps;
  const Average average(args);
  for (int64_t p = 0; p < taps.pixels; ++p) {
    int64_t done = 0;
#if defined(__AVX2__)
    constexpr int64_t kWidth = sizeof(BytesWide::Register);
    if (taps.channels >= kWidth) {
      for (; done + 4 * kWidth <= taps.channels; done += 4 * kWidth) {
        average_blocks<4>(taps, average, p, done);
      }
      for_blocks(done, taps.channels, kWidth,
                 [&](int64_t c) { average_blocks<1>(taps, average, p, c); });
      continue;
    }
#endif
    for (; done < taps.channels; done += kLanes) {
      const int64_t left = taps.channels - done;
      const int64_t count = left < kLanes ? left : kLanes;
      I32 sum = set1i(0);
      for (int64_t r = 0; r < taps.row_count; ++r) {
        const uint8_t* tap = taps.rows[r] + p * taps.step + done;
        for (int64_t k = 0; k < taps.columns; ++k, tap += taps.column_step) {
          sum = add(sum, load_u8_some(tap, count));
        }
      }
      store_u8_some(taps.dst + p * taps.channels + done, average(sum), count);
    }
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
