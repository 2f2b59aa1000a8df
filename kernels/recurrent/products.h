/// \file
/// Gate products of a few rows with one tile of packed weights, and the loops over tiles and rows.
///
/// Include it from ISA files only, after IQ_DOT_VNNI is settled.
#pragma once

#include "kernels/recurrent/dot4.h"
#include "kernels/recurrent/kernels.h"

namespace ipex_quant::kernels {
namespace {

constexpr int kUnits = 16;  // units of one block of GateWeights
static_assert(kUnits % kLanes == 0, "a block is a whole number of vectors");

// Rows that fit the registers: R * 4 accumulators, the weights or activations of a step beside
// them.
#if defined(__AVX512F__) && defined(IQ_DOT_VNNI)
constexpr int kMaxRows = 6;
#elif defined(__AVX512F__)
constexpr int kMaxRows = 5;
#elif defined(IQ_DOT_VNNI)
constexpr int kMaxRows = 3;
#elif defined(__AVX2__)
constexpr int kMaxRows = 2;
#else
constexpr int kMaxRows = 4;
#endif

// Independent sums over k for one accumulator: few rows would wait for vpdpbusd's latency.
#if defined(__AVX512F__)
constexpr int chains(int rows) { return rows == 1 ? 4 : rows == 2 ? 2 : 1; }
#elif defined(IQ_DOT_VNNI)
constexpr int chains(int rows) { return rows == 1 ? 2 : 1; }
#else
constexpr int chains(int) { return 1; }
#endif

/// acc[r][g] += the 4 bytes at a + r * stride times the weights of kLanes units at w.
template <int R, int G>
inline void accumulate(I32 (&acc)[R][G], const uint8_t* a, int64_t stride, const int8_t* w) {
#if defined(IQ_DOT_VNNI)
  Dot::B weight[G];
#pragma GCC unroll 4
  for (int g = 0; g < G; ++g) weight[g] = Dot::load_b(w + g * kUnits * 4);
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    const Dot::A activation = Dot::load_a(a + r * stride);
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) Dot::dot(acc[r][g], activation, weight[g]);
  }
#else
  // A widened weight takes two registers: fewer rows of activations are kept instead.
  Dot::A activation[R];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) activation[r] = Dot::load_a(a + r * stride);
#pragma GCC unroll 4
  for (int g = 0; g < G; ++g) {
    const Dot::B weight = Dot::load_b(w + g * kUnits * 4);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) Dot::dot(acc[r][g], activation[r], weight);
  }
#endif
}

/// Adds the product of R rows with the weights of kLanes units (all G gates) to acc.
template <int R, int G>
inline void product(I32 (&acc)[R][G], const uint8_t* a, int64_t stride, const int8_t* w,
                    int64_t k4) {
  constexpr int C = chains(R);
  constexpr int64_t kStep = G * kUnits * 4;
  int64_t k = 0;
  if constexpr (C > 1) {
    I32 part[C][R][G];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) part[c][r][g] = c == 0 ? acc[r][g] : set1i(0);
      }
    }
    for (; k + C <= k4; k += C) {
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c)
        accumulate<R, G>(part[c], a + (k + c) * 4, stride, w + (k + c) * kStep);
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) {
        acc[r][g] = part[0][r][g];
#pragma GCC unroll 4
        for (int c = 1; c < C; ++c) acc[r][g] = add(acc[r][g], part[c][r][g]);
      }
    }
  }
  for (; k < k4; ++k) accumulate<R, G>(acc, a + k * 4, stride, w + k * kStep);
}

/// Calls f.run<R>(first) for the tile of `rows` = R rows that begins at row `first`.
template <int R = kMaxRows, class F>
inline void for_row_tile(int64_t rows, int64_t first, const F& f) {
  if constexpr (R > 0) {
    if (rows == R) {
      f.template run<R>(first);
    } else {
      for_row_tile<R - 1>(rows, first, f);
    }
  }
}

template <class F>
inline void for_rows(int64_t m, const F& f) {
  int64_t first = 0;
  for (int64_t tiles = (m + kMaxRows - 1) / kMaxRows; tiles > 0; --tiles) {
    const int64_t rows = (m - first + tiles - 1) / tiles;
    for_row_tile(rows, first, f);
    first += rows;
  }
}

/// The tiles of one block of an input projection.
template <int G>
struct ProjectBlock {
  const ProjectArgs& args;
  int64_t block;

  template <int R>
  void run(int64_t first) const {
    const GateWeights& weights = args.weights;
    const uint8_t* rows = args.rows + first * args.row_stride;
    for (int sub = 0; sub < kUnits; sub += kLanes) {
      const int64_t column = block * G * kUnits + sub;
      const int8_t* w = weights.data + block * weights.k4 * G * kUnits * 4 + sub * 4;
      I32 acc[R][G];
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) {
        const I32 sums = load(weights.sums + column + g * kUnits);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
          acc[r][g] = sub_product(sums, args.row_zero_point[first + r]);
        }
      }
      product<R, G>(acc, rows, args.row_stride, w, weights.k4);
      float* out = args.gates + first * args.gates_stride + column;
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) {
        const F32 scale = load(weights.scales + column + g * kUnits);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
          float* cell = out + r * args.gates_stride + g * kUnits;
          const F32 start = args.bias ? load(args.bias + column + g * kUnits) : load(cell);
          const F32 row_scale = set1(args.row_scale[first + r]);
          store(cell, fma(to_float(acc[r][g]), mul(row_scale, scale), start));
        }
      }
    }
  }

  static I32 sub_product(I32 sums, int32_t zero_point) {
    return sub(set1i(0), mul(sums, set1i(zero_point)));
  }
};

template <int G>
void project(const ProjectArgs& args) {
  for (int64_t block = args.block_begin; block < args.block_end; ++block) {
    for_rows(args.m, ProjectBlock<G>{args, block});
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
