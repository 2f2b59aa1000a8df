/// \file
/// add, sub and mul of two uint8 operands that have their own scales, with an epilogue.
#pragma once

#include <cstdint>

#include "kernels/epilogue_plan.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace ipex_quant::kernels {

enum class BinaryOp : uint8_t { kAdd, kSub, kMul };

/// Element (row, col) is (data[row * row_stride + col * col_stride] - zero_point) * scale.
struct BinaryOperand {
  const uint8_t* data;
  int64_t row_stride;  ///< bytes; 0: the same row for all
  int64_t col_stride;  ///< 1, or 0 for one value per row
  float scale;
  int32_t zero_point;  ///< 0..255
};

/// dst(row, col) = epilogue(a(row, col) op b(row, col)) in float32.
struct BinaryArgs {
  BinaryOp op;
  BinaryOperand a;
  BinaryOperand b;
  int64_t rows;
  int64_t cols;
  EpiloguePlan epilogue;
  void* dst;              ///< uint8 or float, by the epilogue
  int64_t dst_stride;     ///< elements from row to row; columns are dense
  int64_t first_row = 0;  ///< position of (0, 0) for the epilogue's tensors
  int64_t first_col = 0;
};

void binary(const BinaryArgs& args, Features features, const Parallel& parallel);

}  // namespace ipex_quant::kernels
