// The product for AMX: 2 x 2 tiles of 16 x 16 sums, 64 bytes of a row per instruction.
//
// The tile registers are configured and released within one call: other users of AMX in the
// process, oneDNN among them, configure them for themselves.
#include "kernels/gemm/panel.h"
#include "kernels/gemm/store_tile.h"
#include "kernels/gemm/tile_registers.h"

namespace ipex_quant::kernels {
namespace {

constexpr int kSide = kPanelRows;    // rows, and columns, of a tile of sums
constexpr int kChunk = kPanelChunk;  // bytes of a row in a tile
constexpr int kPairs = 2;  // tiles of rows, and of columns, that are multiplied with each other
constexpr int kStoreRows = 8;
static_assert(kSide == kTileRows && kChunk == kTileBytes);

/// Weights of the next block, brought into L2 while this one is multiplied: the reads of tiles are
/// too scattered for the hardware to see what comes next.
struct Ahead {
  const int8_t* at;
  int64_t lines;  ///< per step over k

  void step() {
    for (int64_t i = 0; i < lines; ++i, at += 64) __builtin_prefetch(at, 0, 2);
  }
};

/// R tiles of rows from group `group` on, times C tiles of columns from column `first` on.
/// Registers: sums 0..3, rows 4..5, weights 6..7.
template <int R, int C>
void amx_block(const GemmTile& tile, int64_t group, int64_t chunks, int first, ByteCase known,
               Ahead& ahead) {
  unroll<R>([&](auto r)
                IQ_INLINE { unroll<C>([&](auto c) IQ_INLINE { zero_tile<r * kPairs + c>(); }); });
  const GemmPanel* panels = tile.panels + group;
  const int8_t* weight = tile.weight + first * 4;
  const int64_t weight_row = tile.width * 4;
  const uint8_t* a[R];
  unroll<R>([&](auto r) IQ_INLINE { a[r] = panels[r].data; });
  for (int64_t i = 0; i < chunks; ++i, weight += kSide * weight_row) {
    unroll<R>([&](auto r) IQ_INLINE {
      load_tile<2 * kPairs + r>(a[r], panels[r].row_stride);
      a[r] += kChunk;
    });
    ahead.step();
    unroll<C>([&](auto c) IQ_INLINE {
      load_tile<3 * kPairs + c>(weight + c * kChunk, weight_row);
      unroll<R>([&](auto r) IQ_INLINE {
        multiply_tiles<r * kPairs + c, 2 * kPairs + r, 3 * kPairs + c>();
      });
    });
  }
  alignas(64) int32_t sums[R * kSide][C * kSide];
  unroll<R>([&](auto r) IQ_INLINE {
    unroll<C>([&](auto c) IQ_INLINE {
      store_sums<r * kPairs + c>(&sums[r * kSide][c * kSide], sizeof(sums[0]));
    });
  });

  const auto finish = [&](int64_t at, auto rows) IQ_INLINE {
    constexpr int kRows = decltype(rows)::value;
    const int64_t row = group * kSide + at;
    I32 acc[kRows][C];
    unroll<C>([&](auto c) IQ_INLINE {
      const I32 start = load(tile.start + first + c * kSide);
      unroll<kRows>([&](auto r)
                        IQ_INLINE { acc[r][c] = add(load(&sums[at + r][c * kSide]), start); });
    });
    if (tile.row_start) {
      unroll<kRows>([&](auto r) IQ_INLINE {
        const I32 more = set1i(tile.row_start[row + r]);
        unroll<C>([&](auto c) IQ_INLINE { acc[r][c] = add(acc[r][c], more); });
      });
    }
    store_tile<kRows, C>(tile, row, first, acc, known);
  };
  const int64_t left = tile.count - group * kSide;
  const int64_t rows = left < R * kSide ? left : R * kSide;
  int64_t row = 0;
  for (; row + kStoreRows <= rows; row += kStoreRows) finish(row, Index<kStoreRows>());
  for (; row < rows; ++row) finish(row, Index<1>());
}

template <int C>
inline void amx_columns(const GemmTile& tile, int64_t chunks, int first, Ahead& ahead) {
  const int64_t groups = (tile.count + kSide - 1) / kSide;
  const ByteCase known = known_bytes<C>(tile, first);
  int64_t g = 0;
  for (; g + kPairs <= groups; g += kPairs)
    amx_block<kPairs, C>(tile, g, chunks, first, known, ahead);
  if (g < groups) amx_block<1, C>(tile, g, chunks, first, known, ahead);
}

}  // namespace

void gemm_u8s8s32_32x32c64_avx512amx(const GemmTile& tile) {
  static const TileConfig config;
  configure_tiles(config);
  const int64_t chunks = (tile.taps * tile.steps * 4 + kChunk - 1) / kChunk;
  const int64_t steps = (tile.count + 2 * kSide - 1) / (2 * kSide) * ((tile.width + 31) / 32);
  const int64_t asks = steps * chunks;
  Ahead ahead{tile.next.data, asks == 0 ? 0 : (tile.next.bytes / 64 + asks - 1) / asks};
  int first = 0;
  for (; first + 2 * kSide <= tile.width; first += 2 * kSide)
    amx_columns<2>(tile, chunks, first, ahead);
  if (first < tile.width) amx_columns<1>(tile, chunks, first, ahead);
  release_tiles();
}

void pack_rows_avx512amx(const PanelRows& rows, uint8_t* out, int64_t out_stride) {
  const int64_t whole = rows.depth / kChunk * kChunk;
  const int64_t rest = rows.depth - whole;
  const uint64_t mask = ~(~uint64_t{0} << rest);
  const int64_t used = rows.taps * rows.depth;
  const uint64_t behind = used % kChunk == 0 ? 0 : ~uint64_t{0} << used % kChunk;
  for (int64_t i = 0; i < rows.count; ++i, out += out_stride) {
    uint8_t* to = out;
    for (int64_t tap = 0; tap < rows.taps; ++tap, to += rest) {
      const uint8_t* from = rows.rows[tap * rows.row_stride + i] + rows.row_offset;
      for (const uint8_t* end = from + whole; from != end; from += kChunk, to += kChunk) {
        _mm512_storeu_si512(to, _mm512_loadu_si512(from));
      }
      if (rest) _mm512_mask_storeu_epi8(to, mask, _mm512_maskz_loadu_epi8(mask, from));
    }
    if (behind) {
      _mm512_mask_storeu_epi8(out + used / kChunk * kChunk, behind, _mm512_setzero_si512());
    }
  }
}

}  // namespace ipex_quant::kernels
