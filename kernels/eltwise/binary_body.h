/// \file
/// The body of the binary operations, for the ISA of the including file.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/bytes_x4.h"
#include "kernels/eltwise/binary.h"
#include "kernels/epilogue_apply.h"

namespace ipex_quant::kernels {
namespace {

/// One row of an operand, dequantized vector by vector.
struct OperandRow {
  const uint8_t* data;
  bool broadcast;
  F32 scale;
  I32 zero_point;

  OperandRow(const BinaryOperand& operand, int64_t row)
      : data(operand.data + row * operand.row_stride), broadcast(operand.col_stride == 0),
        scale(set1(operand.scale)), zero_point(set1i(operand.zero_point)) {}

  F32 dequantize(I32 q) const { return mul(to_float(sub(q, zero_point)), scale); }
};

/// Columns first..first+count of a row as y; count > 0, and only whole vectors are fast.
template <class Op>
inline void combine_some(const OperandRow& a, const OperandRow& b, int64_t first, int64_t count,
                         const Op& op, float* y) {
  for_vectors(count, [&](int64_t i, int64_t n) {
    const F32 x = a.dequantize(a.broadcast ? set1i(*a.data) : load_u8_some(a.data + first + i, n));
    const F32 z = b.dequantize(b.broadcast ? set1i(*b.data) : load_u8_some(b.data + first + i, n));
    store(y + i, op(x, z));
  });
}

/// kBytesX4 columns of an operand as floats, interleaved.
struct OperandX4 {
  FromBytes from;
  const uint8_t* data;
  bool broadcast;
  F32 fixed;  ///< the one value of a row

  OperandX4(const BinaryOperand& operand, const OperandRow& row)
      : from(operand.scale, operand.zero_point), data(row.data), broadcast(row.broadcast),
        fixed(row.dequantize(set1i(*row.data))) {}

  IQ_INLINE void operator()(int64_t col, F32 (&y)[4]) const {
    if (broadcast) {
      unroll<4>([&](auto j) IQ_INLINE { y[j] = fixed; });
    } else {
      from(data + col, y);
    }
  }
};

/// Columns of a row as bytes, as many whole blocks as there are; gives the number that are done.
/// \tparam Bounded  no result is too large for int32
template <bool Bounded, class Op>
inline int64_t quantize_blocks(const OperandX4& a, const OperandX4& b, int64_t cols, const Op& op,
                               const ToBytes& to, uint8_t* dst) {
  int64_t col = 0;
  for (; col + kBytesX4 <= cols; col += kBytesX4) {
    F32 x[4], y[4];
    a(col, x);
    b(col, y);
    I32 t[4];
    unroll<4>([&](auto j) IQ_INLINE { t[j] = to.template round<Bounded>(op(x[j], y[j])); });
    store_x4<true>(dst + col, t, to);
  }
  return col;
}

/// The largest magnitude of an operand.
inline float magnitude(const BinaryOperand& operand) { return 255 * operand.scale; }

template <class Op>
inline void binary_rows(const BinaryArgs& args, float most, const Op& op) {
  const EpiloguePlan& plan = args.epilogue;
  const bool direct = plan.form == EpilogueForm::kQuantize;
  const bool bounded = most * plan.chain.inv_scale < 1073741824.0f;
  const ToBytes to(plan);
  const int64_t bytes = plan.chain.quantize ? 1 : 4;
  for (int64_t row = 0; row < args.rows; ++row) {
    const OperandRow a(args.a, row);
    const OperandRow b(args.b, row);
    uint8_t* dst = static_cast<uint8_t*>(args.dst) + row * args.dst_stride * bytes;
    int64_t col = 0;
    if (direct) {
      const OperandX4 left(args.a, a);
      const OperandX4 right(args.b, b);
      col = bounded ? quantize_blocks<true>(left, right, args.cols, op, to, dst)
                    : quantize_blocks<false>(left, right, args.cols, op, to, dst);
    }
    while (col < args.cols) {
      const int64_t left = args.cols - col;
      const int64_t count = left < kEpilogueRow ? left : kEpilogueRow;
      alignas(64) float y[kEpilogueRow];
      combine_some(a, b, col, count, op, y);
      finish_row(plan, y, count, args.first_row + row, args.first_col + col, dst + col * bytes);
      col += count;
    }
  }
}

inline void binary_body(const BinaryArgs& args) {
  const float a = magnitude(args.a);
  const float b = magnitude(args.b);
  switch (args.op) {
  case BinaryOp::kAdd:
    return binary_rows(args, a + b, [](F32 x, F32 y) IQ_INLINE { return add(x, y); });
  case BinaryOp::kSub:
    return binary_rows(args, a + b, [](F32 x, F32 y) IQ_INLINE { return sub(x, y); });
  case BinaryOp::kMul:
    return binary_rows(args, a * b, [](F32 x, F32 y) IQ_INLINE { return mul(x, y); });
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
