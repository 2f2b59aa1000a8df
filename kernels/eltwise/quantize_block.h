/// \file
/// Quantizes blocks of floats; a store is as wide as a register of the including file's ISA.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/bytes_x4.h"

namespace ipex_quant::kernels {
namespace {

/// Floats that quantize_block() converts.
constexpr int kQuantizeBlock = kBytesX4;

/// dst[0..kQuantizeBlock) from src.
inline void quantize_block(const ToBytes& to, const float* src, uint8_t* dst) {
  I32 t[4];
  unroll<4>([&](auto j) IQ_INLINE { t[j] = to.template round<false>(load(src + j * kLanes)); });
  store_x4<false>(dst, t, to);
}

/// dst[0..n) from src, any n.
inline void quantize_range(const ToBytes& to, const float* src, uint8_t* dst, int64_t n) {
  int64_t i = 0;
  for (; i + kQuantizeBlock <= n; i += kQuantizeBlock) quantize_block(to, src + i, dst + i);
  if (i == n) return;
  float tail[kQuantizeBlock] = {};
  uint8_t bytes[kQuantizeBlock];
  for (int64_t j = i; j < n; ++j) tail[j - i] = src[j];
  quantize_block(to, tail, bytes);
  for (int64_t j = i; j < n; ++j) dst[j] = bytes[j - i];
}

}  // namespace
}  // namespace ipex_quant::kernels
