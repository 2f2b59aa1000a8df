// Splits a binary operation over threads.
#include "kernels/eltwise/binary.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/select.h"

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

/// Splits the rows, and long rows, over the threads.
void split(const BinaryArgs& args, void (*kernel)(const BinaryArgs&), const Parallel& parallel) {
  if (args.rows == 0) return;
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

/// Rows of `cols` that make one long row of whole registers, if such a row is not too long.
int64_t rows_of_long_row(int64_t cols) {
  constexpr int64_t kRegister = 64;
  constexpr int64_t kLong = 2048;
  const int64_t whole = kRegister / std::gcd(kRegister, cols);
  return cols * whole <= kLong ? kLong / (cols * whole) * whole : kLong / cols;
}

/// Whether the rows of `args` follow each other, but for one operand that is the same row for all:
/// a gate of squeeze-and-excitation.
bool is_gated(const BinaryArgs& args, const BinaryOperand& gate, const BinaryOperand& other) {
  return gate.row_stride == 0 && gate.col_stride == 1 && other.row_stride == args.cols &&
         other.col_stride == 1 && args.dst_stride == args.cols;
}

bool reads_tensors(const Epilogue& chain) {
  return std::any_of(chain.ops, chain.ops + chain.count,
                     [](const PostOp& op) { return reads_tensor(op.kind); });
}

}  // namespace

void binary(const BinaryArgs& args, Features features, const Parallel& parallel) {
  if (args.rows <= 0 || args.cols <= 0) return;
  const auto kernel = select_kernel<BinaryArgs>(features);
  const bool a_is_gate = is_gated(args, args.a, args.b);
  const int64_t copies = std::min(rows_of_long_row(args.cols), args.rows);
  if (copies < 2 || reads_tensors(args.epilogue.chain) ||
      !(a_is_gate || is_gated(args, args.b, args.a))) {
    return split(args, kernel, parallel);
  }
  // Short rows end in parts of registers: the row that is the same for all is repeated, and some
  // rows become one.
  BinaryArgs joined = args;
  BinaryOperand& gate = a_is_gate ? joined.a : joined.b;
  BinaryOperand& other = a_is_gate ? joined.b : joined.a;
  std::vector<uint8_t> repeated(static_cast<size_t>(copies * args.cols));
  for (int64_t i = 0; i < copies; ++i) {
    std::copy_n(gate.data, args.cols, repeated.data() + i * args.cols);
  }
  gate.data = repeated.data();
  joined.cols = joined.dst_stride = other.row_stride = copies * args.cols;
  joined.rows = args.rows / copies;
  split(joined, kernel, parallel);
  const int64_t rest = args.rows % copies;
  if (rest > 0) {
    split(part_of(joined, joined.rows, 1, 0, rest * args.cols), kernel, parallel);
  }
}

}  // namespace ipex_quant::kernels
