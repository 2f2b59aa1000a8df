// Splits a binary operation over threads.
#include "kernels/eltwise/binary.h"

#include <algorithm>

#include "kernels/eltwise/select.h"

namespace ipex_quant::kernels {
namespace {

constexpr int64_t kGrain = 32768;  // elements; less is not worth waking a thread

BinaryArgs part_of(const BinaryArgs& all, int64_t row, int64_t rows, int64_t col, int64_t cols) {
  BinaryArgs part = all;
  const auto move = [&](BinaryOperand& operand) {
    operand.data += row * operand.row_stride + col * operand.col_stride;
  };
  move(part.a);
  move(part.b);
  part.rows = rows;
  part.cols = cols;
  part.first_row += row;
  part.first_col += col;
  const int64_t offset = row * all.dst_stride + col;
  part.dst = all.epilogue.chain.quantize
                 ? static_cast<void*>(static_cast<uint8_t*>(all.dst) + offset)
                 : static_cast<void*>(static_cast<float*>(all.dst) + offset);
  return part;
}

}  // namespace

void binary(const BinaryArgs& args, Features features, const Parallel& parallel) {
  if (args.rows <= 0 || args.cols <= 0) return;
  const auto kernel = select_eltwise<BinaryArgs>(features);
  const int64_t cols = std::min(args.cols, kGrain);
  const int64_t rows = std::min(args.rows, std::max<int64_t>(kGrain / cols, 1));
  const int64_t col_parts = (args.cols + cols - 1) / cols;
  const int64_t row_parts = (args.rows + rows - 1) / rows;
  parallel(row_parts * col_parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / col_parts * rows;
      const int64_t col = i % col_parts * cols;
      kernel(part_of(args, row, std::min(rows, args.rows - row), col,
                     std::min(cols, args.cols - col)));
    }
  });
}

}  // namespace ipex_quant::kernels
