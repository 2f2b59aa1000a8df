// Blocks the product for the caches and the threads; everything about one tile is in the kernels.
#include "kernels/gemm/gemm.h"

#include <algorithm>

#include "kernels/gemm/panel.h"
#include "kernels/gemm/tile.h"

namespace ipex_quant::kernels {
namespace {

/// Bytes of left rows that stay in L2 while all columns pass over them.
constexpr int64_t kRowBytes = 256 * 1024;
/// Bytes of left rows that may be in L2 from the call before, which wrote them.
constexpr int64_t kCachedRows = 1024 * 1024;
/// Entries of the pointer table, so that it stays in L1 or near it.
constexpr int64_t kPointers = 4096;
/// Multiplications below which another thread is not worth waking.
constexpr int64_t kThreadWork = 1 << 18;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// How one product is cut: rows into blocks of `rows`, columns into blocks of kGemmBlock.
struct Cut {
  int64_t rows;
  int64_t row_blocks;
  int64_t column_blocks;  ///< per group
  int64_t grain;          ///< blocks per thread at least
};

Cut cut(const GemmProblem& p, const GemmEntry& kernel, int threads) {
  const GemmWeight& w = *p.weight;
  const int64_t taps = std::max<int64_t>(w.taps, 1);
  const int64_t depth = std::max<int64_t>(w.taps * w.depth, 1);
  const int64_t tile = kernel.mr;
  Cut c;
  c.column_blocks = ceil_div(w.n, kGemmBlock);
  const int64_t columns = c.column_blocks * w.groups;
  // Blocks of almost equal height: a last one of few rows would read all weights for them.
  const int64_t most = std::max(4 * tile, std::min(kRowBytes / depth, kPointers / taps));
  int64_t blocks = std::max<int64_t>(1, (p.m + most / 2) / most);
  const int64_t work = p.m * w.n * w.groups * depth;
  if (threads > 1 && work >= 2 * kThreadWork) {
    if (p.m > w.n * w.groups) {
      // A thread takes the rows that it wrote in the layer before, where they still are in its L2.
      blocks = ceil_div(blocks, threads) * threads;
    } else if (blocks * columns % threads != 0) {
      // So many that the slowest thread has little more than the mean.
      blocks = std::max(blocks, ceil_div(4 * threads, columns));
    }
  }
  c.rows = std::min(p.m, ceil_div(ceil_div(p.m, blocks), tile) * tile);
  c.row_blocks = ceil_div(p.m, c.rows);
  const int64_t per_block = std::max<int64_t>(work / (c.row_blocks * columns), 1);
  c.grain = std::max<int64_t>(1, kThreadWork / per_block);
  return c;
}

/// The row tables of a thread. They only grow, so that no call allocates in the steady state.
struct Table {
  std::vector<const uint8_t*> pointers;
  std::vector<int64_t> dst_rows;
  Panels panels;

  void reserve(int64_t taps, int64_t rows) {
    if (pointers.size() < static_cast<size_t>(taps * rows)) {
      pointers.resize(static_cast<size_t>(taps * rows));
    }
    if (dst_rows.size() < static_cast<size_t>(rows)) dst_rows.resize(static_cast<size_t>(rows));
  }
};

/// A block of columns.
struct Block {
  int64_t group;
  int64_t number;  ///< within the group
};

/// First column of a block in the packed weights.
int64_t first_column(const GemmWeight& w, const Block& block) {
  return block.group * w.padded_n() + block.number * kGemmBlock;
}

int64_t width_of(const GemmWeight& w, const Block& block) {
  return std::min(kGemmBlock, w.padded_n() - block.number * kGemmBlock);
}

/// All rows of the table times `count` blocks of columns from `block` on, before `next` follows.
void multiply_blocks(const GemmProblem& p, const GemmEntry& kernel, const Table& table,
                     const GemmPanel* panels, int64_t stride, int64_t rows, const Block& block,
                     int64_t count, const Block& next) {
  const GemmWeight& w = *p.weight;
  const int64_t depth = w.taps * w.depth;
  const int64_t first = block.number * kGemmBlock;
  const int64_t at = first_column(w, block);
  const int64_t next_at = first_column(w, next);
  GemmTile tile;
  tile.row_stride = stride;
  tile.row_offset = block.group * p.group_offset;
  tile.ask_for_rows = block.number == 0 && w.taps == 1 && p.m * w.depth * w.groups > kCachedRows;
  tile.taps = w.taps;
  tile.steps = w.depth / kGemmDepth;
  tile.weight = w.data.data() + at * depth;
  tile.width = width_of(w, block);
  if (next_at != at) {
    tile.next = {w.data.data() + next_at * depth, width_of(w, next) * depth, rows,
                 depth / kGemmDepth};
  }
  tile.blocks = count;
  tile.columns = std::min(kGemmBlock, w.n - first);
  tile.start = p.start + at;
  tile.row_start = nullptr;
  tile.scale = p.scale + at;
  tile.bias = p.bias + at;
  tile.epilogue = &p.epilogue;
  tile.dst = p.dst;
  tile.dst_stride = p.dst_stride;
  tile.col = block.group * w.n + first;
  tile.count = rows;
  tile.rows = table.pointers.data();
  tile.panels = panels;
  tile.dst_rows = table.dst_rows.data();
  kernel.run(tile);
}

/// Blocks from `block` on that a kernel takes at once for one row: the last may not be whole.
int64_t blocks_at_once(const GemmEntry& kernel, const GemmWeight& w, int64_t block, int64_t left) {
  const int64_t whole = w.n / kGemmBlock - block;
  return std::max<int64_t>(std::min<int64_t>({whole, left, kernel.row_blocks}), 1);
}

}  // namespace

GemmRows plain_rows(const PlainRows& rows) {
  return {&rows,
          [](const void* context, int64_t first, int64_t count, int64_t, const uint8_t** pointers,
             int64_t* dst_rows) {
            const PlainRows& r = *static_cast<const PlainRows*>(context);
            for (int64_t i = 0; i < count; ++i) {
              pointers[i] = r.data + (first + i) * r.stride;
              dst_rows[i] = first + i;
            }
          },
          rows.stride};
}

void gemm(const GemmProblem& p, Features features, const Parallel& parallel) {
  const GemmWeight& w = *p.weight;
  if (p.m == 0 || w.n == 0 || w.groups == 0) return;
  const GemmEntry& kernel = select_gemm(features, p.m);
  const Cut c = cut(p, kernel, parallel.threads);
  const int64_t columns = c.column_blocks * w.groups;
  parallel(c.row_blocks * columns, c.grain, [&](int64_t begin, int64_t end) {
    thread_local Table table;
    table.reserve(w.taps, c.rows);
    int64_t filled = -1;
    int64_t packed_group = -1;
    const GemmPanel* panels = nullptr;
    int64_t rows = 0;
    int64_t count = 1;
    for (int64_t i = begin; i < end; i += count) {
      const int64_t row_block = i / columns;
      const int64_t column = i % columns;
      if (row_block != filled) {
        const int64_t first = row_block * c.rows;
        rows = std::min(c.rows, p.m - first);
        p.rows.find(p.rows.context, first, rows, c.rows, table.pointers.data(),
                    table.dst_rows.data());
        filled = row_block;
        packed_group = -1;
      }
      const int64_t group = column / c.column_blocks;
      if (kernel.kr == kPanelChunk && group != packed_group) {
        panels = table.panels.find({rows, table.pointers.data(), c.rows, group * p.group_offset,
                                    w.taps, w.depth, p.rows.step});
        packed_group = group;
      }
      const int64_t block = column % c.column_blocks;
      count = rows > 1 ? 1 : blocks_at_once(kernel, w, block, end - i);
      const int64_t next = i + count < end ? (i + count) % columns : column;
      multiply_blocks(p, kernel, table, panels, c.rows, rows, {group, block}, count,
                      {next / c.column_blocks, next % c.column_blocks});
    }
  });
}

}  // namespace ipex_quant::kernels
