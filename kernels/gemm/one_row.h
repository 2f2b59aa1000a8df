/// \file
/// One row times many blocks of columns, which is bound by reading the weights.
///
/// An epilogue between two blocks fills the core's window, and the weights behind it are asked for
/// late. So the sums of all blocks come first, then their epilogues: 50 becomes 46 us for 4096
/// columns of 1024 weights in L3.
#pragma once

#include "kernels/gemm/layout.h"
#include "kernels/gemm/tile_template.h"

namespace ipex_quant::kernels {
namespace {

constexpr int kRowVectors = kGemmBlock / kLanes;

/// acc[0] becomes the row's sums with one block. Two sets of accumulators take turns to hide the
/// latency of the multiply-add. A loop that gemm_tile shares would make that 2 % slower for 3x3
/// convolutions of 64 channels: GCC 12 then finds other registers for its taps.
template <class Dot>
inline IQ_INLINE void sum_row(const GemmTile& tile, const int8_t* weight, const int32_t* start,
                              I32 (&acc)[2][kRowVectors]) {
  unroll<kRowVectors>([&](auto v) IQ_INLINE {
    acc[0][v] = load(start + v * kLanes);
    acc[1][v] = set1i(0);
  });
  for (int64_t tap = 0; tap < tile.taps; ++tap) {
    const uint8_t* a = tile.rows[tap * tile.row_stride] + tile.row_offset;
    const auto step = [&](int64_t k, I32(&sums)[kRowVectors]) IQ_INLINE {
      const typename Dot::A x = Dot::load_a(a + k * kGemmDepth);
      unroll<kRowVectors>([&](auto v) IQ_INLINE {
        Dot::dot(sums[v], x, Dot::load_b(weight + v * kLanes * kGemmDepth));
      });
      weight += kGemmBlock * kGemmDepth;
    };
    int64_t k = 0;
    for (; k + 2 <= tile.steps; k += 2) {
      step(k, acc[0]);
      step(k + 1, acc[1]);
    }
    if (k < tile.steps) step(k, acc[0]);
  }
  unroll<kRowVectors>([&](auto v) IQ_INLINE { acc[0][v] = add(acc[0][v], acc[1][v]); });
}

/// \param tile  one row, at most kRowBlocks blocks of 64 columns
template <class Dot>
void gemm_row(const GemmTile& tile) {
  alignas(64) int32_t sums[kRowBlocks * kGemmBlock];
  I32 acc[2][kRowVectors];
  const int64_t block_bytes = tile.taps * tile.steps * kGemmBlock * kGemmDepth;
  for (int64_t b = 0; b < tile.blocks; ++b) {
    sum_row<Dot>(tile, tile.weight + b * block_bytes, tile.start + b * kGemmBlock, acc);
    int32_t* to = sums + b * kGemmBlock;
    unroll<kRowVectors>([&](auto v) IQ_INLINE { store(to + v * kLanes, acc[0][v]); });
  }
  GemmTile part = tile;
  for (int64_t b = 0; b < tile.blocks; ++b) {
    const int32_t* from = sums + b * kGemmBlock;
    I32 done[1][kRowVectors];
    unroll<kRowVectors>([&](auto v) IQ_INLINE { done[0][v] = load(from + v * kLanes); });
    store_tile<1, kRowVectors>(part, 0, 0, done, ByteCase::kAny);
    part.scale += kGemmBlock;
    part.bias += kGemmBlock;
    part.col += kGemmBlock;
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
