/// \file
/// The loops of peak.h on simd.h. Include it from ISA files only.
#pragma once

#include "kernels/peak/peak.h"
#include "kernels/simd.h"

namespace ipex_quant::kernels {
namespace {

inline float first_lane(F32 x) {
  float lanes[kLanes];
  store(lanes, x);
  return lanes[0];
}

inline int64_t float_peak(int64_t rounds) {
  constexpr int kChains = 12;
  volatile float start = 1;  // what the compiler knew it would compute once for all
  F32 acc[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) acc[i] = set1(start);
  const F32 factor = set1(start / 2);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) acc[i] = fma(acc[i], factor, factor);
  }
  volatile float used = 0;
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) used = used + first_lane(acc[i]);
  return rounds * kChains * kLanes;
}

inline float read(const float* data, std::size_t bytes) {
  constexpr int kVectors = 8;
  constexpr std::size_t kStep = kVectors * kLanes;
  static_assert(kReadStep % (kStep * sizeof(float)) == 0, "whole steps");
  F32 acc[kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kVectors; ++i) acc[i] = set1(0.0f);
  const float* end = data + bytes / sizeof(float);
  for (; data != end; data += kStep) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) acc[i] = add(acc[i], load(data + i * kLanes));
  }
  float sum = 0;
#pragma GCC unroll 8
  for (int i = 0; i < kVectors; ++i) sum += first_lane(acc[i]);
  return sum;
}

}  // namespace
}  // namespace ipex_quant::kernels
