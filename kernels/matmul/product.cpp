// Packs the right operand and runs the u8 x s8 micro-kernel on its blocks.
#include "kernels/matmul/product.h"

#include <algorithm>
#include <cstring>

#include "kernels/select.h"

namespace ipex_quant::kernels {
namespace {

int64_t round_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

}  // namespace

int64_t product_parts(int64_t batches, int64_t m, int64_t work, int threads) {
  if (threads <= 1 || batches >= 2 * threads) return 1;
  return std::min(
      {(2 * threads + batches - 1) / batches, work / kProductThreadWork + 1, (m + 23) / 24});
}

U8Product::U8Product(const Sizes& sizes, int32_t a_zero_point, int32_t b_zero_point, float scale,
                     Features features)
    : sizes_(sizes), a_zero_point_(a_zero_point), b_zero_point_(b_zero_point),
      kernel_(select_gemm(features, sizes.m)), pack_(select_kernel<PackColumnsArgs>(features)),
      row_sums_(select_kernel<RowSumsArgs>(features)), depth_(round_up(sizes.k, kGemmDepth)),
      padded_n_(round_up(sizes.n, kGemmColumns)) {
  std::fill_n(scale_, kGemmBlock, scale);
}

void U8Product::pack(const uint8_t* b, int64_t k_stride, int64_t n_stride,
                     PackedColumns& columns) const {
  grow(columns.weight, padded_n_ * depth_ + kGemmWeightTail);
  grow(columns.start, padded_n_);
  // With b' = b - 128 and z' = b_zero_point - 128, sum (a - za)(b - zb) is
  // sum a b' - za sum b' + k za z' - z' sum a; the last term belongs to the row.
  const int32_t constant = static_cast<int32_t>(sizes_.k) * a_zero_point_ * shifted_zero();
  for (int64_t first = 0; first < padded_n_; first += kGemmColumns) {
    const int64_t block = first / kGemmBlock * kGemmBlock;
    const int64_t width = std::min(kGemmBlock, padded_n_ - block);
    int32_t sums[kGemmColumns];
    pack_({b + first * n_stride, k_stride, n_stride, sizes_.k,
           std::min(kGemmColumns, sizes_.n - first),
           columns.weight.data() + block * depth_ + (first - block) * kGemmDepth,
           width * kGemmDepth, sums});
    for (int64_t n = 0; n < kGemmColumns; ++n) {
      columns.start[static_cast<size_t>(first + n)] = constant - a_zero_point_ * sums[n];
    }
  }
}

void U8Product::find(const U8Rows& rows, FoundRows& found) const {
  const int64_t count = rows.count;
  found.count = count;
  grow(found.pointers, count);
  grow(found.numbers, count);
  grow(found.start, count);
  // The kernel reads whole groups of 4 bytes. What follows a row does not matter, for B is zero
  // there, but it must be memory of the tensor: true unless the row is the last one.
  const bool whole = depth_ == sizes_.k || rows.padded;
  const bool copy_all = !whole && rows.stride < kGemmDepth;
  const int64_t copied = whole ? 0 : copy_all ? count : 1;
  grow(found.copies, copied * depth_);
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* row = rows.data + i * rows.stride;
    found.numbers[static_cast<size_t>(i)] = rows.first + i;
    const int64_t slot = i - (count - copied);
    if (slot >= 0) {
      uint8_t* copy = found.copies.data() + slot * depth_;
      std::memcpy(copy, row, static_cast<size_t>(sizes_.k));
      row = copy;
    }
    found.pointers[static_cast<size_t>(i)] = row;
  }
  if (kernel_.kr == kPanelChunk) {
    // Rows of which some are copied have no common step.
    const int64_t step = copied == 0 ? rows.stride : 0;
    found.found_panels = found.panels.find({count, found.pointers.data(), 0, 0, 1, depth_, step});
  }
  if (shifted_zero() == 0) return;
  row_sums_({found.pointers.data(), count, sizes_.k, found.start.data()});
  for (int64_t i = 0; i < count; ++i) found.start[static_cast<size_t>(i)] *= -shifted_zero();
}

void U8Product::multiply(const FoundRows& rows, const PackedColumns& columns,
                         const EpiloguePlan& epilogue, void* dst, int64_t stride) const {
  static constexpr float kNoBias[kGemmBlock] = {};
  GemmTile tile;
  tile.count = rows.count;
  tile.rows = rows.pointers.data();
  tile.panels = rows.found_panels;
  tile.row_stride = 0;
  tile.row_offset = 0;
  tile.taps = 1;
  tile.steps = depth_ / kGemmDepth;
  tile.row_start = shifted_zero() == 0 ? nullptr : rows.start.data();
  tile.scale = scale_;
  tile.bias = kNoBias;
  tile.epilogue = &epilogue;
  tile.dst_rows = rows.numbers.data();
  tile.dst = dst;
  tile.dst_stride = stride;
  for (int64_t block = 0; block < sizes_.n; block += kGemmBlock) {
    tile.weight = columns.weight.data() + block * depth_;
    tile.width = std::min(kGemmBlock, padded_n_ - block);
    tile.columns = std::min(kGemmBlock, sizes_.n - block);
    tile.start = columns.start.data() + block;
    tile.col = block;
    kernel_.run(tile);
  }
}

}  // namespace ipex_quant::kernels
