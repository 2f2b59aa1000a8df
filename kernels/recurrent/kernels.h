/// \file
/// What a recurrent layer asks of an ISA: gate products, cell steps and row quantization.
///
/// All rows of table.inc give the same bits: integer sums are exact, and the float operations of
/// numerics below run in the same order, element by element (simd.h, vmath.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa.h"

namespace ipex_quant::kernels {

/// A GateMatrix as kernels see it.
struct GateWeights {
  const int8_t* data;   ///< [blocks][k4][gates][16][4]
  const int32_t* sums;  ///< [blocks][gates][16]
  const float* scales;  ///< [blocks][gates][16]
  int64_t k4;           ///< k / 4, rounded up
};

/// acc = sum_k (rows[r][k] - zero_point[r]) * w[n][k], exact
/// gates[r][n] = fma((float)acc, scale[r] * w_scale[n], start)
/// start = bias[n], or what gates[r][n] holds when bias is null
struct ProjectArgs {
  const uint8_t* rows;            ///< [m][row_stride], 4 * k4 readable bytes per row
  int64_t row_stride;             ///< bytes
  const float* row_scale;         ///< [m]
  const int32_t* row_zero_point;  ///< [m], 0..255
  int64_t m;
  GateWeights weights;
  const float* bias;     ///< [blocks][gates][16] or null
  float* gates;          ///< [m][blocks][gates][16]
  int64_t gates_stride;  ///< floats between rows
  int64_t block_begin;   ///< this call computes blocks [block_begin, block_end)
  int64_t block_end;
};

/// One time step of m sequences for a range of unit blocks.
///   p[n] = fma((float)(sum_k (hq[k] - 128) * w_hh[n][k]), h_scale * w_scale[n], start[n])
/// LSTM: start = x_gates
///       c = fma(sigmoid(p_f), c, sigmoid(p_i) * tanh(p_g));  h = sigmoid(p_o) * tanh(c)
/// GRU:  start = hidden_bias
///       r = sigmoid(x_r + p_r);  z = sigmoid(x_z + p_z)
///       n = tanh(fma(r, p_n, x_n));  h = fma(z, h - n, n)
struct StepArgs {
  const uint8_t* hq;     ///< [m][hq_stride], quantized h of the step before, zero point 128
  int64_t hq_stride;     ///< bytes
  const float* h_scale;  ///< [m]
  int64_t m;
  GateWeights weights;
  const float* hidden_bias;  ///< [blocks][3][16]; GRU only
  const float* x_gates;      ///< [m][x_stride]: the input projection of this step
  int64_t x_stride;          ///< floats
  float* c;                  ///< [m][state_stride], LSTM only
  float* h;                  ///< [m][state_stride]; a GRU reads it, too
  int64_t state_stride;      ///< floats, a multiple of 16
  int64_t block_begin;
  int64_t block_end;
  bool backward;  ///< visits the blocks from the last to the first; same result
};

/// Quantizes m rows of h with a scale of their own, and hands the float rows out.
///   a = max(max_u |h[u]|, 2^-100);  scale = a * (1/127)
///   q[u] = rne(clamp(h[u] * (127 / a), -127, 127)) + 128
struct EmitArgs {
  const float* h;    ///< [m][h_stride]
  int64_t h_stride;  ///< floats
  int64_t m;
  int64_t units;  ///< without padding
  uint8_t* hq;    ///< [m][hq_stride]; units rounded up to 16 are written
  int64_t hq_stride;
  float* h_scale;    ///< [m]
  float* y;          ///< float out, or null; `units` values per row
  uint8_t* yq;       ///< u8 out (contract of quantize), or null
  int64_t y_stride;  ///< elements of y or yq between rows
  float y_inv_scale;
  int32_t y_zero_point;
};

/// Quantizes rows of float input with a scale and a zero point of their own.
///   L = 255 with one plane, 65535 with two
///   lo = min(0, min x);  hi = max(0, max x);  a = max(hi - lo, 2^-100)
///   scale = a * (1/L);  inv = L / a;  z = rne(clamp(-lo * inv, 0, L))
///   q = rne(clamp(x * inv, -z, L - z)) + z
/// Two planes: q = 256 * q1 + q0 and z = 256 * z1 + z0. Plane 0 gets (q0, scale, z0), plane 1
/// (q1, 256 * scale, z1). A NaN counts as the lower bound, and not for the range.
struct QuantizeRowsArgs {
  const float* x;    ///< [m][x_stride]
  int64_t x_stride;  ///< floats
  int64_t m;
  int64_t k;
  int planes;  ///< 1 or 2
  uint8_t* q;  ///< [planes][m][q_stride]; k rounded up to 16 bytes are written
  int64_t q_stride;
  int64_t q_plane;  ///< bytes between planes
  float* scale;     ///< [planes][plane stride]
  int32_t* zero_point;
  int64_t param_plane;  ///< elements between the planes of scale and zero_point
};

/// The functions of one ISA.
struct RecurrentKernels {
  const char* name;
  Features needs;
  int64_t max_rows;  ///< rows that share one pass over the weights
  void (*project_lstm)(const ProjectArgs&);
  void (*project_gru)(const ProjectArgs&);
  void (*step_lstm)(const StepArgs&);
  void (*step_gru)(const StepArgs&);
  void (*emit)(const EmitArgs&);
  void (*quantize_rows)(const QuantizeRowsArgs&);
};

/// Best row of table.inc that `features` cover.
const RecurrentKernels& select_recurrent_kernels(Features features);

}  // namespace ipex_quant::kernels
