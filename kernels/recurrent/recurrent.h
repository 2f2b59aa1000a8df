/// \file
/// Int8 LSTM and GRU: several layers, one or two directions, over whole sequences.
///
/// The definition; every ISA, thread count and batch split gives these bits (formulas: kernels.h):
///   * Layer 0 reads u8 rows with one static scale and zero point, or float rows that are quantized
///     at run time, each (time, batch) row with a scale and zero point of its own, to 8 bits, or to
///     16 when 2 * input_size <= units.
///   * h is quantized after each step with a scale of its own per (time, batch, direction) row: in
///     many layers max|h| stays far below 1, and a fixed step of 1/127 was seen to cost 3 to 6
///     times the error at the same speed. h0 is quantized in the same way.
///   * Layer l > 0 reads the quantized h of layer l - 1. Two directions are two products with row
///     scales of their own: x_gates = fma(acc_bwd, s_bwd * w, fma(acc_fwd, s_fwd * w, bias)).
///   * y, hn and cn are the float values before quantization; y may be quantized, statically.
///   * The bias of an LSTM gate is b_ih + b_hh, added once in float. A GRU adds b_hh to the hidden
///     product, because the reset gate multiplies it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/isa.h"
#include "kernels/parallel.h"
#include "kernels/recurrent/gate_matrix.h"

namespace ipex_quant::kernels {

enum class CellKind { kLstm, kGru };

/// Gates of a cell: rows of its weights per unit.
inline int64_t gates_of(CellKind cell) { return cell == CellKind::kLstm ? 4 : 3; }

/// A packed matrix, perhaps shared with other models, and this model's scales of its columns.
struct ScaledGates {
  std::shared_ptr<const GateMatrix> matrix;
  std::vector<float> scales;  ///< pack_gate_vector order, as all vectors here
};

/// Packed weights of one layer and direction.
struct RecurrentWeights {
  std::vector<ScaledGates> input;  ///< one; two for the directions of the layer below
  ScaledGates hidden;
  std::vector<float> input_bias;
  std::vector<float> hidden_bias;  ///< GRU; empty for an LSTM
};

enum class InputMode { kStaticU8, kRows8, kRows16 };

/// How float input is quantized at run time. Raw features (powers, sensors) are few and their
/// ranges differ by orders of magnitude: 16 bits cost little beside the hidden product there.
inline InputMode run_time_mode(int64_t input_size, int64_t units) {
  return 2 * input_size <= units ? InputMode::kRows16 : InputMode::kRows8;
}

/// A packed model.
struct RecurrentModel {
  CellKind cell;
  int64_t input_size;
  int64_t units;
  int64_t layers;
  int64_t directions;  ///< 1 or 2
  InputMode input_mode;
  float x_scale;  ///< kStaticU8
  int32_t x_zero_point;
  std::vector<RecurrentWeights> weights;  ///< [layers * directions]
};

/// One run. Strides are in elements; the last dimension of x, y and the states is contiguous.
struct RecurrentCall {
  int64_t time;
  int64_t batch;
  const void* x;  ///< uint8 or float [time][batch][input_size] by x_time_stride, x_batch_stride
  int64_t x_time_stride;
  int64_t x_batch_stride;
  const float* h0;  ///< [layers * directions][batch][units] contiguous, or null for zeros
  const float* c0;  ///< likewise; LSTM
  void* y;          ///< float, or uint8 when quantize_y: [time][batch][directions * units]
  int64_t y_time_stride;
  int64_t y_batch_stride;
  bool quantize_y;
  float y_inv_scale;
  int32_t y_zero_point;
  float* hn;  ///< [layers * directions][batch][units] contiguous
  float* cn;  ///< likewise; LSTM
};

/// How a run is cut into independent sequences groups, and the scratch memory it takes.
struct RecurrentPlan {
  int64_t groups;           ///< batch rows are split over that many tasks
  int64_t workspace_bytes;  ///< 64-byte aligned memory for run_recurrent
};

RecurrentPlan plan_recurrent(const RecurrentModel& model, int64_t time, int64_t batch, int threads);

/// Runs the model. time >= 1, batch >= 1. Allocates nothing. `workspace` is 64-byte aligned.
void run_recurrent(const RecurrentModel& model, const RecurrentCall& call,
                   const RecurrentPlan& plan, uint8_t* workspace, const Parallel& parallel,
                   Features features);

}  // namespace ipex_quant::kernels
