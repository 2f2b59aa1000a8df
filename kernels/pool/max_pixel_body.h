/// \file
/// The body of the kernels of max pooling, for the ISA of the including file.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include <cstddef>

#include "kernels/pool/pixel.h"
#include "kernels/pool/pixel_bytes.h"
#include "kernels/unroll.h"

namespace ipex_quant::kernels {
namespace {

#if defined(__AVX2__)

/// Pixels whose windows are read together.
constexpr int kMaxPixels = 4;

/// A block of channels of kMaxPixels pixels, kColumns taps wide and kStride columns apart: a column
/// that windows share is read once.
template <class Bytes, int kColumns, int kStride>
inline IQ_INLINE void max_sliding(const PixelTaps& taps, int64_t pixel, int64_t c) {
  constexpr int kRead = kColumns + (kMaxPixels - 1) * kStride;
  typename Bytes::Register column[kRead];
  unroll<kRead>([&](auto x) IQ_INLINE { column[x] = Bytes::zero(); });
  for (int64_t r = 0; r < taps.row_count; ++r) {
    const uint8_t* row = taps.rows[r] + pixel * taps.step + c;
    unroll<kRead>([&](auto x) IQ_INLINE {
      column[x] = Bytes::max(column[x], Bytes::load(row + x * taps.column_step));
    });
  }
  unroll<kMaxPixels>([&](auto p) IQ_INLINE {
    typename Bytes::Register most = column[p * kStride];
    unroll<kColumns - 1>([&](auto k)
                             IQ_INLINE { most = Bytes::max(most, column[p * kStride + k + 1]); });
    Bytes::store(taps.dst + (pixel + p) * taps.channels + c, most);
  });
}

/// A block of channels of one pixel.
template <class Bytes>
inline void max_block(const PixelTaps& taps, int64_t pixel, int64_t c) {
  typename Bytes::Register most = Bytes::zero();
  for (int64_t r = 0; r < taps.row_count; ++r) {
    const uint8_t* tap = taps.rows[r] + pixel * taps.step + c;
    for (int64_t k = 0; k < taps.columns; ++k, tap += taps.column_step) {
      most = Bytes::max(most, Bytes::load(tap));
    }
  }
  Bytes::store(taps.dst + pixel * taps.channels + c, most);
}

/// All channels of all pixels; there are at least as many channels as bytes in a block.
template <class Bytes, int kColumns, int kStride>
inline void max_all_sliding(const PixelTaps& taps) {
  constexpr int64_t kWidth = sizeof(typename Bytes::Register);
  int64_t p = 0;
  for (; p < taps.pixels; p += kMaxPixels) {
    // The last pixels are moved back to be as many, too: they are the same again.
    const int64_t last = taps.pixels - kMaxPixels;
    const int64_t pixel = p < last ? p : last;
    for_blocks(0, taps.channels, kWidth,
               [&](int64_t c) { max_sliding<Bytes, kColumns, kStride>(taps, pixel, c); });
  }
}

template <class Bytes>
inline void max_all(const PixelTaps& taps) {
  const auto is = [&](int64_t columns, int64_t stride) {
    return taps.pixels >= kMaxPixels && taps.columns == columns &&
           taps.step == stride * taps.column_step;
  };
  if (is(3, 2)) return max_all_sliding<Bytes, 3, 2>(taps);
  if (is(2, 2)) return max_all_sliding<Bytes, 2, 2>(taps);
  if (is(3, 1)) return max_all_sliding<Bytes, 3, 1>(taps);
  if (is(5, 1)) return max_all_sliding<Bytes, 5, 1>(taps);
  constexpr int64_t kWidth = sizeof(typename Bytes::Register);
  for (int64_t p = 0; p < taps.pixels; ++p) {
    for_blocks(0, taps.channels, kWidth, [&](int64_t c) { max_block<Bytes>(taps, p, c); });
  }
}

#endif

inline void max_pixel_body(const MaxPixelArgs& args) {
  const PixelTaps& taps = args.taps;
#if defined(__AVX2__)
  if (taps.channels >= static_cast<int64_t>(sizeof(BytesWide::Register))) {
    return max_all<BytesWide>(taps);
  }
  if (taps.channels >= 16) return max_all<Bytes16>(taps);
#endif
  for (int64_t i = 0; i < taps.pixels * taps.channels; ++i) {
    const int64_t first = i / taps.channels * taps.step + i % taps.channels;
    uint8_t most = 0;
    for (int64_t r = 0; r < taps.row_count; ++r) {
      for (int64_t k = 0; k < taps.columns; ++k) {
        const uint8_t q = taps.rows[r][first + k * taps.column_step];
        most = q > most ? q : most;
      }
    }
    taps.dst[i] = most;
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
