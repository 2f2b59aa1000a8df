// Quantizes rows at run time, multiplies them by the micro-kernel of gemm and finishes the sums.
#include "kernels/dynamic/dynamic_linear.h"

#include <algorithm>

#include "kernels/dynamic/finish.h"
#include "kernels/gemm/tile.h"
#include "kernels/recurrent/kernels.h"
#include "kernels/select.h"

namespace ipex_quant::kernels {
namespace {

/// Bytes of quantized rows that stay in L2 while all columns pass over them.
constexpr int64_t kRowBytes = 256 * 1024;
/// Values below which another thread is not worth waking to quantize them.
constexpr int64_t kThreadValues = 32768;
/// Multiplications below which another thread is not worth waking.
constexpr int64_t kThreadWork = 1 << 18;
/// quantize_rows() writes whole vectors.
constexpr int64_t kRowUnit = 16;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t unit) { return ceil_div(a, unit) * unit; }

/// Columns whose sums are kept before they are finished: one row fits into an epilogue call.
constexpr int64_t kColumns = 256;
/// Rows that are multiplied at a time: whole tiles of every kernel.
constexpr int64_t kTileRows = 12;

using Finish = void (*)(const DynamicFinishArgs&);

/// The quantized rows inside the workspace.
struct Rows {
  float* scale;
  int32_t* zero_point;
  uint8_t* q;
  int64_t stride;        ///< bytes
  int64_t param_stride;  ///< 0: one scale for the whole tensor
};

Rows lay_out(int64_t m, int64_t k, DynamicRange range, uint8_t* workspace) {
  const int64_t params = round_up(m * 4, 64);
  Rows rows;
  rows.scale = reinterpret_cast<float*>(workspace);
  rows.zero_point = reinterpret_cast<int32_t*>(workspace + params);
  rows.q = workspace + 2 * params;
  // A tensor with one scale is one long row. What follows a row's k bytes meets zero weights.
  rows.stride = range == DynamicRange::kRow ? round_up(k, kRowUnit) : k;
  rows.param_stride = range == DynamicRange::kRow ? 1 : 0;
  return rows;
}

void quantize_input(const DynamicLinearArgs& args, const Rows& rows, Features features,
                    const Parallel& parallel) {
  const auto quantize_rows = select_recurrent_kernels(features).quantize_rows;
  const bool whole = args.range == DynamicRange::kTensor;
  const int64_t m = whole ? 1 : args.m;
  QuantizeRowsArgs all{};
  all.x = args.x;
  all.k = whole ? args.m * args.k : args.k;
  all.x_stride = all.k;
  all.planes = 1;
  all.q_stride = rows.stride;
  parallel(m, std::max<int64_t>(1, kThreadValues / all.k), [&](int64_t begin, int64_t end) {
    QuantizeRowsArgs part = all;
    part.x += begin * all.x_stride;
    part.m = end - begin;
    part.q = rows.q + begin * rows.stride;
    part.scale = rows.scale + begin;
    part.zero_point = rows.zero_point + begin;
    quantize_rows(part);
  });
}

/// The product of quantized rows, and how it is computed.
struct Product {
  const DynamicLinearArgs& args;
  const Rows& rows;
  const GemmEntry& gemm;
  Finish finish;

  /// Rows [begin, end) and up to kColumns columns from `column` on.
  void run(int64_t begin, int64_t end, int64_t column) const {
    alignas(64) int32_t acc[kTileRows * kColumns];
    for (int64_t row = begin; row < end; row += kTileRows) {
      const int64_t count = std::min(kTileRows, end - row);
      multiply(row, count, column, part_of(row - begin, end - begin), acc);
      finish_rows(row, count, column, acc);
    }
  }

 private:
  /// A part of the next columns' weights, which each tile of rows asks for.
  struct Part {
    int64_t number;
    int64_t count;
  };
  static Part part_of(int64_t row, int64_t rows) {
    return {row / kTileRows, ceil_div(rows, kTileRows)};
  }

  void multiply(int64_t row, int64_t count, int64_t column, Part part, int32_t* acc) const {
    static constexpr int32_t kZeros[kGemmBlock] = {};
    static constexpr float kUnused[kGemmBlock] = {};
    static constexpr int64_t kRowIndex[kTileRows] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    static const EpiloguePlan accumulator = plan_accumulator();
    const GemmWeight& w = *args.weight;
    const uint8_t* pointers[kTileRows];
    for (int64_t i = 0; i < count; ++i) pointers[i] = rows.q + (row + i) * rows.stride;
    const int64_t padded_n = w.padded_n();
    const int64_t last = std::min(column + kColumns, padded_n);
    for (int64_t block = column; block < last; block += kGemmBlock) {
      GemmTile tile;
      tile.count = count;
      tile.rows = pointers;
      tile.row_stride = 0;
      tile.row_offset = 0;
      tile.taps = 1;
      tile.steps = w.depth / kGemmDepth;
      tile.weight = w.data.data() + block * w.depth;
      tile.width = std::min(kGemmBlock, padded_n - block);
      tile.columns = tile.width;
      const int64_t next = block + kColumns;
      if (next < padded_n) {
        const int64_t bytes = std::min(kGemmBlock, padded_n - next) * w.depth;
        tile.next = {w.data.data() + next * w.depth + bytes * part.number / part.count,
                     bytes / part.count, count, tile.steps};
      }
      tile.start = kZeros;
      tile.row_start = nullptr;
      tile.scale = kUnused;
      tile.bias = kUnused;
      tile.epilogue = &accumulator;
      tile.dst_rows = kRowIndex;
      tile.dst = acc;
      tile.dst_stride = kColumns;
      tile.col = block - column;
      gemm.run(tile);
    }
  }

  void finish_rows(int64_t row, int64_t count, int64_t column, const int32_t* acc) const {
    const int64_t n = args.weight->n;
    const int64_t bytes = args.epilogue.chain.quantize ? 1 : 4;
    DynamicFinishArgs done;
    done.acc = acc;
    done.acc_stride = kColumns;
    done.row_scale = rows.scale + row * rows.param_stride;
    done.row_zero_point = rows.zero_point + row * rows.param_stride;
    done.param_stride = rows.param_stride;
    done.rows = count;
    done.columns = std::min(kColumns, n - column);
    done.sums = args.weight->sums.data() + column;
    done.scale = args.weight_scale + column;
    done.bias = args.bias + column;
    done.epilogue = &args.epilogue;
    done.dst = static_cast<uint8_t*>(args.dst) + (row * n + column) * bytes;
    done.dst_stride = n;
    done.first_row = row;
    done.first_column = column;
    finish(done);
  }
};

}  // namespace

int64_t dynamic_linear_workspace(int64_t m, int64_t k) {
  return 2 * round_up(m * 4, 64) + m * round_up(k, kRowUnit) + kRowUnit;
}

void dynamic_linear(const DynamicLinearArgs& args, uint8_t* workspace, Features features,
                    const Parallel& parallel) {
  const GemmWeight& w = *args.weight;
  if (args.m == 0 || w.n == 0) return;
  const Rows rows = lay_out(args.m, args.k, args.range, workspace);
  quantize_input(args, rows, features, parallel);

  // Twelve rows at a time would leave a quarter of each tile of AMX empty.
  const GemmEntry& gemm = select_gemm(features & ~kAmxInt8, args.m);
  const Product product{args, rows, gemm, select_kernel<DynamicFinishArgs>(features)};
  const int64_t columns = ceil_div(w.n, kColumns);
  int64_t chunk = std::max(kTileRows, kRowBytes / rows.stride / kTileRows * kTileRows);
  if (parallel.threads > 1) {
    // Enough blocks that the slowest thread has little more than the mean.
    const int64_t wanted = ceil_div(4 * parallel.threads, columns);
    chunk = std::min(chunk, round_up(ceil_div(args.m, wanted), kTileRows));
  }
  chunk = std::min(chunk, args.m);
  const int64_t work = std::max<int64_t>(1, chunk * std::min(w.n, kColumns) * w.depth);
  parallel(ceil_div(args.m, chunk) * columns, std::max<int64_t>(1, kThreadWork / work),
           [&](int64_t begin, int64_t end) {
             for (int64_t i = begin; i < end; ++i) {
               const int64_t first = i / columns * chunk;
               product.run(first, std::min(args.m, first + chunk), i % columns * kColumns);
             }
           });
}

}  // namespace ipex_quant::kernels
