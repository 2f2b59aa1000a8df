/// \file
/// Quantization of rows with a scale of their own: h after each step, and float input.
///
/// Include it from ISA files only, after IQ_DOT_VNNI is settled. Formulas: EmitArgs and
/// QuantizeRowsArgs in kernels.h.
#pragma once

#include "kernels/recurrent/dot4.h"
#include "kernels/recurrent/kernels.h"
#include "kernels/vmath.h"

namespace ipex_quant::kernels {
namespace {

constexpr float kSmallest = 0x1p-100f;  // keeps 127 / a finite for a row of zeros

inline float max_lane(F32 v) {
  float lanes[kLanes];
  store(lanes, v);
  float best = lanes[0];
  for (int i = 1; i < kLanes; ++i) best = lanes[i] > best ? lanes[i] : best;
  return best;
}

/// Copies the n < kLanes first lanes.
inline void store_some(float* p, F32 v, int64_t n) {
  float lanes[kLanes];
  store(lanes, v);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}
inline void store_some_u8(uint8_t* p, I32 v, int64_t n) {
  uint8_t lanes[kLanes];
  store_u8(lanes, v);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}
/// Loads n < kLanes values, zero beyond.
inline F32 load_some(const float* p, int64_t n) {
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}

/// rne(clamp(v, low, high)); NaN gives low.
inline I32 clamp_to_int(F32 v, F32 low, F32 high) { return to_int(min(max(v, low), high)); }

void emit(const EmitArgs& args) {
  const int64_t padded = (args.units + 15) / 16 * 16;
  for (int64_t row = 0; row < args.m; ++row) {
    const float* h = args.h + row * args.h_stride;
    // The second operand of max survives a NaN in the first.
    F32 largest = set1(kSmallest);
    for (int64_t u = 0; u < padded; u += kLanes) largest = max(abs_v(load(h + u)), largest);
    const float a = max_lane(largest);
    args.h_scale[row] = a * (1.0f / 127.0f);
    const F32 inv = set1(127.0f / a);
    uint8_t* hq = args.hq + row * args.hq_stride;
    for (int64_t u = 0; u < padded; u += kLanes) {
      const I32 q = clamp_to_int(mul(load(h + u), inv), set1(-127.0f), set1(127.0f));
      store_u8(hq + u, add(q, set1i(128)));
    }
    const int64_t whole = args.units / kLanes * kLanes;
    const int64_t rest = args.units - whole;
    if (args.y) {
      float* y = args.y + row * args.y_stride;
      for (int64_t u = 0; u < whole; u += kLanes) store(y + u, load(h + u));
      if (rest) store_some(y + whole, load(h + whole), rest);
    }
    if (args.yq) {
      uint8_t* y = args.yq + row * args.y_stride;
      const F32 low = set1(static_cast<float>(0 - args.y_zero_point));
      const F32 high = set1(static_cast<float>(255 - args.y_zero_point));
      const F32 y_inv = set1(args.y_inv_scale);
      const I32 zero_point = set1i(args.y_zero_point);
      for (int64_t u = 0; u < args.units; u += kLanes) {
        const I32 q = add(clamp_to_int(mul(load(h + u), y_inv), low, high), zero_point);
        if (u < whole) {
          store_u8(y + u, q);
        } else {
          store_some_u8(y + u, q, rest);
        }
      }
    }
  }
}

void quantize_rows(const QuantizeRowsArgs& args) {
  const int64_t whole = args.k / kLanes * kLanes;
  const int64_t rest = args.k - whole;
  const float levels = args.planes == 1 ? 255.0f : 65535.0f;
  for (int64_t row = 0; row < args.m; ++row) {
    const float* x = args.x + row * args.x_stride;
    F32 highest = set1(0.0f);
    F32 lowest = set1(0.0f);  // negated
    for (int64_t i = 0; i < args.k; i += kLanes) {
      const F32 v = i < whole ? load(x + i) : load_some(x + i, rest);
      highest = max(v, highest);
      lowest = max(sub(set1(0.0f), v), lowest);
    }
    const float minus_lo = max_lane(lowest);
    const float range = max_lane(highest) + minus_lo;
    const float a = range > kSmallest ? range : kSmallest;
    const F32 inv = set1(levels / a);
    const float scale = a * (1.0f / levels);
    float z_lane[kLanes];
    store(z_lane, to_float(clamp_to_int(mul(set1(minus_lo), inv), set1(0.0f), set1(levels))));
    const float z = z_lane[0];
    const I32 zero_point = set1i(static_cast<int32_t>(z));
    const F32 low = set1(-z);
    const F32 high = set1(levels - z);
    args.scale[row] = scale;
    args.zero_point[row] = static_cast<int32_t>(z) & 255;
    if (args.planes == 2) {
      args.scale[args.param_plane + row] = 256.0f * scale;
      args.zero_point[args.param_plane + row] = static_cast<int32_t>(z) >> 8;
    }
    uint8_t* q = args.q + row * args.q_stride;
    for (int64_t i = 0; i < args.k; i += kLanes) {
      const F32 v = i < whole ? load(x + i) : load_some(x + i, rest);
      const I32 value = add(clamp_to_int(mul(v, inv), low, high), zero_point);
      store_u8(q + i, bit_and(value, set1i(255)));
      if (args.planes == 2) store_u8(q + args.q_plane + i, shift_right(value, 8));
    }
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
