/// \file
/// One time step of an LSTM or GRU: the hidden product and the cell update on its accumulators.
///
/// Include it from ISA files only, after IQ_DOT_VNNI is settled. Formulas: StepArgs in
/// kernels.h.
#pragma once

#include "kernels/recurrent/products.h"
#include "kernels/vmath.h"

namespace ipex_quant::kernels {
namespace {

// An update takes all rows through one function before the next: each is a chain of dependent
// operations, and the core sees some of them at a time only when they are short.

/// Gates i, f, g, o. `p` holds the 4 pre-activations of kLanes units, and what becomes of them.
struct LstmCell {
  static constexpr int kGates = 4;
  static F32 start(const StepArgs& args, int64_t row, int64_t column) {
    return load(args.x_gates + row * args.x_stride + column);
  }
  static void update(const StepArgs& args, int64_t first, int rows, int64_t /*column*/,
                     int64_t unit, float (*p)[kGates][kLanes]) {
    const int64_t at = first * args.state_stride + unit;
    for (int r = 0; r < rows; ++r) {
      store(p[r][0], sigmoid_v(load(p[r][0])));
      store(p[r][1], sigmoid_v(load(p[r][1])));
      store(p[r][2], tanh_v(load(p[r][2])));
      store(p[r][3], sigmoid_v(load(p[r][3])));
    }
    for (int r = 0; r < rows; ++r) {
      float* c_cell = args.c + at + r * args.state_stride;
      const F32 candidate = mul(load(p[r][0]), load(p[r][2]));
      const F32 c = fma(load(p[r][1]), load(c_cell), candidate);
      store(c_cell, c);
      store(args.h + at + r * args.state_stride, mul(load(p[r][3]), tanh_v(c)));
    }
  }
};

/// Gates r, z, n.
struct GruCell {
  static constexpr int kGates = 3;
  static F32 start(const StepArgs& args, int64_t /*row*/, int64_t column) {
    return load(args.hidden_bias + column);
  }
  static void update(const StepArgs& args, int64_t first, int rows, int64_t column, int64_t unit,
                     float (*p)[kGates][kLanes]) {
    const float* x = args.x_gates + first * args.x_stride + column;
    for (int r = 0; r < rows; ++r) {
      const float* x_row = x + r * args.x_stride;
      store(p[r][0], sigmoid_v(add(load(x_row), load(p[r][0]))));
      store(p[r][1], sigmoid_v(add(load(x_row + kUnits), load(p[r][1]))));
    }
    for (int r = 0; r < rows; ++r) {
      float* h_cell = args.h + (first + r) * args.state_stride + unit;
      const float* x_fresh = x + r * args.x_stride + 2 * kUnits;
      const F32 fresh = tanh_v(fma(load(p[r][0]), load(p[r][2]), load(x_fresh)));
      store(h_cell, fma(load(p[r][1]), sub(load(h_cell), fresh), fresh));
    }
  }
};

/// The tiles of one block of a time step.
template <class Cell>
struct StepBlock {
  static constexpr int G = Cell::kGates;
  const StepArgs& args;
  int64_t block;

  template <int R>
  void run(int64_t first) const {
    const GateWeights& weights = args.weights;
    const uint8_t* rows = args.hq + first * args.hq_stride;
    for (int sub_block = 0; sub_block < kUnits; sub_block += kLanes) {
      const int64_t column = block * G * kUnits + sub_block;
      const int8_t* w = weights.data + block * weights.k4 * G * kUnits * 4 + sub_block * 4;
      I32 acc[R][G];
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) {
        // The zero point of h is 128.
        const I32 start = sub(set1i(0), shift_left(load(weights.sums + column + g * kUnits), 7));
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) acc[r][g] = start;
      }
      product<R, G>(acc, rows, args.hq_stride, w, weights.k4);
      // Through memory, for the cell update is not unrolled R times.
      alignas(64) float p[R][G][kLanes];
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) {
        const F32 scale = load(weights.scales + column + g * kUnits);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
          const F32 start = Cell::start(args, first + r, column + g * kUnits);
          store(p[r][g],
                fma(to_float(acc[r][g]), mul(set1(args.h_scale[first + r]), scale), start));
        }
      }
      Cell::update(args, first, R, column, block * kUnits + sub_block, p);
    }
  }
};

template <class Cell>
void step(const StepArgs& args) {
  const int64_t blocks = args.block_end - args.block_begin;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t block = args.backward ? args.block_end - 1 - i : args.block_begin + i;
    for_rows(args.m, StepBlock<Cell>{args, block});
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
