/// \file
/// The fast way from float results to bytes, for kernels that hold them in registers.
#pragma once

#include "kernels/epilogue_plan.h"
#include "kernels/simd.h"
#include "kernels/unroll.h"

namespace ipex_quant::kernels {
namespace {

/// How results become bytes. y is scaled, cut off above (a float that is too large for int32 would
/// come out as the smallest), rounded, and only then clamped: rounding is monotone, so clamping
/// first and last are the same.
struct ToBytes {
  F32 inv_scale;
  F32 most;
  int32_t zero_point;
  uint8_t low, high;  ///< bounds of the bytes

  explicit IQ_INLINE ToBytes(const EpiloguePlan& plan)
      : inv_scale(set1(plan.chain.inv_scale)), most(set1(512.0f)),
        zero_point(plan.chain.zero_point), low(plan.low_byte), high(plan.high_byte) {}

  IQ_INLINE I32 round(F32 y) const { return to_int(min(most, mul(y, inv_scale))); }
};

}  // namespace
}  // namespace ipex_quant::kernels
