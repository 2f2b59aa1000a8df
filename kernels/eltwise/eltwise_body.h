/// \file
/// The bodies of quantize, quantize_planes and dequantize, for the ISA of the including file.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/eltwise/eltwise.h"
#include "kernels/eltwise/few_planes.h"
#include "kernels/eltwise/interleave.h"
#include "kernels/eltwise/quantize_block.h"

namespace ipex_quant::kernels {
namespace {

inline void quantize_body(const QuantizeArgs& args) {
  quantize_range(ToBytes(args.inv_scale, args.zero_point), args.src, args.dst, args.n);
}

inline void dequantize_body(const DequantizeArgs& args) {
  const F32 scale = set1(args.scale);
  const I32 zero_point = set1i(args.zero_point);
  const auto convert = [&](const uint8_t* src, float* dst) {
    store(dst, mul(to_float(sub(load_u8(src), zero_point)), scale));
  };
  int64_t i = 0;
  for (; i + kLanes <= args.n; i += kLanes) convert(args.src + i, args.dst + i);
  if (i == args.n) return;
  uint8_t tail[kLanes] = {};
  float values[kLanes];
  for (int64_t j = i; j < args.n; ++j) tail[j - i] = args.src[j];
  convert(tail, values);
  for (int64_t j = i; j < args.n; ++j) args.dst[j] = values[j - i];
}

/// Pixels that quantize_planes converts at once: long enough runs of each channel for the
/// prefetcher.
constexpr int kTilePixels = 64;

/// Bytes of a tile's channels: [channel][kTilePixels].
using Tile = uint8_t[kInterleave * kTilePixels];

/// Copies a tile of `channels` <= 16 to dst[p * stride + c], one byte at a time.
inline void interleave_bytes(const uint8_t* tile, int64_t channels, int64_t first, int64_t last,
                             uint8_t* dst, int64_t stride) {
  for (int64_t p = first; p < last; ++p) {
    for (int64_t c = 0; c < channels; ++c) dst[p * stride + c] = tile[c * kTilePixels + p];
  }
}

/// Copies a full tile to dst[p * stride + c]. Writes nothing beside.
inline void interleave_tile(const uint8_t* tile, int64_t channels, uint8_t* dst, int64_t stride) {
#if defined(__AVX2__)
  if (channels == kInterleave) {
    for (int p = 0; p < kTilePixels; p += kInterleave) {
      interleave16(tile + p, kTilePixels, dst + p * stride, stride);
    }
    return;
  }
  if (channels == stride) {
    // Each store of 16 bytes runs into the next pixels, which are written after it; the last
    // 16 pixels are written apart, for nothing comes after them.
    const int64_t safe = kTilePixels - kInterleave;
    for (int64_t p = 0; p < safe; p += kInterleave) {
      interleave16(tile + p, kTilePixels, dst + p * stride, stride);
    }
    interleave_bytes(tile, channels, safe, kTilePixels, dst, stride);
    return;
  }
#endif
  interleave_bytes(tile, channels, 0, kTilePixels, dst, stride);
}

inline void quantize_planes_body(const QuantizePlanesArgs& args) {
  const ToBytes to(args.inv_scale, args.zero_point);
  if (args.channels == 1) return quantize_range(to, args.src, args.dst, args.pixels);
  int64_t p = 0;
#if defined(__AVX2__)
  if (args.channels == 3) p = quantize_few_planes<3>(to, args);
  if (args.channels == 4) p = quantize_few_planes<4>(to, args);
#endif
  Tile tile = {};
  for (; p < args.pixels; p += kTilePixels) {
    const int64_t left = args.pixels - p;
    const int64_t pixels = left < kTilePixels ? left : kTilePixels;
    for (int64_t c0 = 0; c0 < args.channels; c0 += kInterleave) {
      // The last group is moved back to be full, where there are 16 channels at all.
      int64_t first = c0;
      if (first + kInterleave > args.channels && args.channels >= kInterleave) {
        first = args.channels - kInterleave;
      }
      const int64_t rest = args.channels - first;
      const int64_t channels = rest < kInterleave ? rest : kInterleave;
      for (int64_t c = 0; c < channels; ++c) {
        quantize_range(to, args.src + (first + c) * args.plane + p, tile + c * kTilePixels, pixels);
      }
      uint8_t* dst = args.dst + p * args.channels + first;
      if (pixels == kTilePixels) {
        interleave_tile(tile, channels, dst, args.channels);
      } else {
        interleave_bytes(tile, channels, 0, pixels, dst, args.channels);
      }
    }
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
