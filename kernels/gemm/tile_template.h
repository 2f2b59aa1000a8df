/// \file
/// The micro-kernel, written once on simd.h; each ISA file includes it with its own Dot.
///
/// Dot supplies the multiply-add of 4 uint8 with 4 int8 per int32 lane:
///   Dot::A Dot::load_a(const uint8_t*)   4 bytes, the same in every lane
///   Dot::B Dot::load_b(const int8_t*)    4 bytes per lane
///   void Dot::dot(I32& acc, A, B)        exact, wraps around modulo 2^32
///
#pragma once

#include "kernels/gemm/store_tile.h"

namespace ipex_quant::kernels {
namespace {

/// Asks for the rows of the tile after the next one. The hardware follows a row, but not from one
/// to the next, and not across pages.
template <int MR>
inline IQ_INLINE void prefetch_rows(const GemmTile& tile, int64_t row) {
  unroll<MR>([&](auto r) IQ_INLINE {
    const int64_t next = row + 2 * MR + r;
    if (next >= tile.count) return;
    const uint8_t* from = tile.rows[next] + tile.row_offset;
    for (int64_t k = 0; k < tile.steps * 4; k += 64) __builtin_prefetch(from + k, 0, 2);
  });
}

/// MR rows from `row` on, times NV vectors of columns from column `first` of the block on.
/// \param known  known_bytes() of these columns
template <class Dot, int MR, int NV>
void gemm_tile(const GemmTile& tile, int64_t row, int first, ByteCase known) {
  prefetch_operand<MR, NV>(tile, row, first);
  if (tile.ask_for_rows) prefetch_rows<MR>(tile, row);
  // Few accumulators cannot hide the latency of the multiply-add: two sets take turns then.
  constexpr int kSets = MR * NV <= 6 ? 2 : 1;
  I32 acc[kSets][MR][NV];
  unroll<NV>([&](auto v) IQ_INLINE {
    const I32 start = load(tile.start + first + v * kLanes);
    unroll<MR>([&](auto r) IQ_INLINE {
      acc[0][r][v] = start;
      if (kSets > 1) acc[kSets - 1][r][v] = set1i(0);
    });
  });
  if (tile.row_start) {
    unroll<MR>([&](auto r) IQ_INLINE {
      const I32 more = set1i(tile.row_start[row + r]);
      unroll<NV>([&](auto v) IQ_INLINE { acc[0][r][v] = add(acc[0][r][v], more); });
    });
  }

  const int8_t* weight = tile.weight + first * 4;
  const int64_t weight_step = tile.width * 4;
  // A narrow tile has more rows, and no register to spare for the address.
  constexpr bool kAsks = NV * kLanes >= 48;
  const bool asks = kAsks && row < tile.next.rows;
  const int64_t next_step = asks ? MR * tile.next.step : 0;
  const int8_t* next =
      asks ? tile.next.data + row * tile.taps * tile.steps * tile.next.step : weight;
  const uint8_t* const* rows = tile.rows + row;
  for (int64_t tap = 0; tap < tile.taps; ++tap, rows += tile.row_stride) {
    const uint8_t* a[MR];
    unroll<MR>([&](auto r) IQ_INLINE { a[r] = rows[r] + tile.row_offset; });
    const int64_t bytes = tile.steps * 4;
    int64_t k = 0;
    const auto step = [&](int64_t at, I32(&sums)[MR][NV]) IQ_INLINE {
      typename Dot::B b[NV];
      unroll<NV>([&](auto v) IQ_INLINE { b[v] = Dot::load_b(weight + v * kLanes * 4); });
      weight += weight_step;
      if constexpr (kAsks) {
        __builtin_prefetch(next, 0, 2);
        next += next_step;
      }
      unroll<MR>([&](auto r) IQ_INLINE {
        const typename Dot::A x = Dot::load_a(a[r] + at);
        unroll<NV>([&](auto v) IQ_INLINE { Dot::dot(sums[r][v], x, b[v]); });
      });
    };
    if (kSets > 1) {
      for (; k + 8 <= bytes; k += 8) {
        step(k, acc[0]);
        step(k + 4, acc[kSets - 1]);
      }
      if (k < bytes) step(k, acc[0]);
    } else {
      for (; k < bytes; k += 4) step(k, acc[0]);
    }
  }
  if (kSets > 1) {
    unroll<MR>([&](auto r) IQ_INLINE {
      unroll<NV>([&](auto v) IQ_INLINE { acc[0][r][v] = add(acc[0][r][v], acc[kSets - 1][r][v]); });
    });
  }
  store_tile<MR, NV>(tile, row, first, acc[0], known);
}

using TileFunction = void (*)(const GemmTile& tile, int64_t row, int first, ByteCase known);

/// The function for 1..MR rows.
template <class Dot, int MR, int NV>
inline TileFunction tile_function(int64_t rows) {
  if constexpr (MR > 1) {
    return rows == MR ? gemm_tile<Dot, MR, NV> : tile_function<Dot, MR - 1, NV>(rows);
  } else {
    return gemm_tile<Dot, 1, NV>;
  }
}

/// All rows of the block in tiles of almost equal height, at most MR: a last tile of one row would
/// be bound by latency.
template <class Dot, int MR, int NV>
inline void gemm_rows(const GemmTile& tile, int first) {
  // A few rows cost less than what would be known about them.
  const ByteCase known = tile.count < MR ? ByteCase::kAny : known_bytes<NV>(tile, first);
  const int64_t tiles = (tile.count + MR - 1) / MR;
  const int64_t height = tile.count / tiles;
  const int64_t higher = tile.count % tiles;  // so many tiles have one row more
  TileFunction run = tile_function<Dot, MR, NV>(height + 1);
  int64_t row = 0;
  for (int64_t i = 0; i < higher; ++i, row += height + 1) run(tile, row, first, known);
  run = tile_function<Dot, MR, NV>(height);
  for (int64_t i = higher; i < tiles; ++i, row += height) run(tile, row, first, known);
}

}  // namespace
}  // namespace ipex_quant::kernels
