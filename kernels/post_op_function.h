/// \file
/// The steps of an epilogue that are functions of one number.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/epilogue.h"
#include "kernels/vmath.h"

namespace ipex_quant::kernels {
namespace {

/// Calls use(f) with the function of a step that reads no tensor. f takes one vector or several
/// (wide.h).
template <class Use>
inline void with_function(const PostOp& op, const Use& use) {
  const F32 a = set1(op.a);
  const F32 b = set1(op.b);
  // Operands of min and max so that a NaN stays one, as in torch's relu and clamp.
  switch (op.kind) {
  case PostOpKind::kRelu:
    return use([](auto y) IQ_INLINE { return max(set1(0.0f), y); });
  case PostOpKind::kClamp:
    return use([a, b](auto y) IQ_INLINE { return min(b, max(a, y)); });
  case PostOpKind::kSigmoid:
    return use([](auto y) IQ_INLINE { return on_each([](F32 v) { return sigmoid_v(v); }, y); });
  case PostOpKind::kTanh:
    return use([](auto y) IQ_INLINE { return on_each([](F32 v) { return tanh_v(v); }, y); });
  case PostOpKind::kGeluErf:
    return use([](auto y) IQ_INLINE { return gelu_erf_v(y); });
  case PostOpKind::kGeluTanh:
    return use([](auto y) IQ_INLINE { return gelu_tanh_v(y); });
  case PostOpKind::kSilu:
    return use([](auto y) IQ_INLINE { return silu_v(y); });
  case PostOpKind::kHardswish:
    return use([](auto y) IQ_INLINE { return hardswish_v(y); });
  case PostOpKind::kHardsigmoid:
    return use([](auto y) IQ_INLINE { return hardsigmoid_v(y); });
  case PostOpKind::kLeakyRelu:
    return use([a](auto y)
                   IQ_INLINE { return on_each([a](F32 v) { return leaky_relu_v(v, a); }, y); });
  case PostOpKind::kElu:
    return use([a](auto y) IQ_INLINE { return on_each([a](F32 v) { return elu_v(v, a); }, y); });
  case PostOpKind::kMish:
    return use([](auto y) IQ_INLINE { return on_each([](F32 v) { return mish_v(v); }, y); });
  case PostOpKind::kMulScalar:
    return use([a](auto y) IQ_INLINE { return mul(y, a); });
  case PostOpKind::kAddScalar:
    return use([a](auto y) IQ_INLINE { return add(y, a); });
  default:
    return;  // reads a tensor
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
