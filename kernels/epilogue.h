/// \file
/// What happens to a float result before it is stored: a chain of post-ops, then u8 or f32 out. A
/// u8 result may go through a table of its 256 codes.
///
/// One description serves every anchor (gemm, conv, matmul, binary, lstm output). A chain runs
/// per element, in order, in float32; each entry is one step of the arithmetic in docs/numerics.md.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ipex_quant::kernels {

enum class PostOpKind : uint8_t {
  kRelu,     ///< max(y, 0)
  kClamp,    ///< min(max(y, a), b)
  kSigmoid,  ///< 1 / (1 + exp(-y))
  kTanh,
  kGeluErf,      ///< y/2 * (1 + erf(y/sqrt 2))
  kGeluTanh,     ///< tanh form of gelu
  kSilu,         ///< y * sigmoid(y)
  kHardswish,    ///< y * clamp(y + 3, 0, 6) / 6
  kHardsigmoid,  ///< clamp(y + 3, 0, 6) / 6
  kLeakyRelu,    ///< y < 0 ? a*y : y
  kElu,          ///< y < 0 ? a*(exp(y) - 1) : y
  kMish,         ///< y * tanh(log(1 + exp(y)))
  kMulScalar,    ///< y * a
  kAddScalar,    ///< y + a
  kAddU8,        ///< y + (other - zero_point) * a
  kAddF32,       ///< y + other
  kMulU8,        ///< y * ((other - zero_point) * a)
  kMulF32,       ///< y * other
  kPrelu,        ///< y < 0 ? y * other : y, other is a float
  kMaskedFill,   ///< other ? a : y, other is a byte
  kWhere,        ///< other ? y : a
};

/// One step of an epilogue.
struct PostOp {
  PostOpKind kind;
  float a = 0;  ///< lower bound, slope, alpha, factor, fill, or the scale of a u8 operand
  float b = 0;  ///< upper bound
  int32_t zero_point = 0;  ///< of a u8 operand, 0..255
};

/// What a step reads beside the accumulator.
enum class OperandType : uint8_t { kNone, kU8, kF32, kMask };

inline OperandType operand_type(PostOpKind kind) {
  switch (kind) {
  case PostOpKind::kAddU8:
  case PostOpKind::kMulU8:
    return OperandType::kU8;
  case PostOpKind::kAddF32:
  case PostOpKind::kMulF32:
  case PostOpKind::kPrelu:
    return OperandType::kF32;
  case PostOpKind::kMaskedFill:
  case PostOpKind::kWhere:
    return OperandType::kMask;
  default:
    return OperandType::kNone;
  }
}

inline bool reads_tensor(PostOpKind kind) { return operand_type(kind) != OperandType::kNone; }

constexpr int kMaxPostOps = 8;
constexpr int kMaxPostOpTensors = 4;

/// A whole epilogue. Fixed size, so that kernels copy it freely.
struct Epilogue {
  PostOp ops[kMaxPostOps];
  int count = 0;
  bool quantize = false;   ///< true: u8 out; false: f32 out
  float scale = 1;         ///< output scale, finite and positive
  float inv_scale = 1;     ///< 1 / scale, rounded to float once
  int32_t zero_point = 0;  ///< of the output, 0..255
  bool look_up = false;    ///< true: a quantized result q is stored as table[q]
  uint8_t table[256] = {};
};

/// Where a tensor-reading post-op finds its operand, in elements of its dtype.
/// Element (row, col) of the output reads data[row * row_stride + col * col_stride].
struct PostOpTensor {
  const void* data;    ///< uint8, float, or bytes that are 0 or not, by the step that reads it
  int64_t row_stride;  ///< 0: the same row for all
  int64_t col_stride;  ///< 1, or 0 for one value per row
};

}  // namespace ipex_quant::kernels
