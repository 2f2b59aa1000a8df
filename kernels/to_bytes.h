/// \file
/// The fast way from float results to bytes, for kernels that hold them in registers.
#pragma once

#include "kernels/epilogue_plan.h"
#include "kernels/simd.h"
#include "kernels/unroll.h"

namespace ipex_quant::kernels {
namespace {

/// What a kernel knows about its results before it has them.
enum class ByteCase : uint8_t {
  kAny,
  kBounded,  ///< no y / scale is too large for int32: see ToBytes::bounded()
  kWhole,    ///< and the bytes are 0..255 with zero point 0, as behind a relu
};

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
  /// Plain quantization.
  IQ_INLINE ToBytes(float inv, int32_t zp)
      : inv_scale(set1(inv)), most(set1(512.0f)), zero_point(zp), low(0), high(255) {}

  /// \tparam Bounded  y cannot be too large: see bounded()
  template <bool Bounded>
  IQ_INLINE I32 round(F32 y) const {
    const F32 t = mul(y, inv_scale);
    return to_int(Bounded ? t : min(most, t));
  }

  /// Whether (fma(sum, scale, bias) + x) * inv_scale fits into int32 whatever the sum is and x up
  /// to `more`, for `channels` channels in whole vectors. Almost always true: products are smaller
  /// than their output scale.
  IQ_INLINE bool bounded(const float* scale, const float* bias, int64_t channels,
                         float more = 0) const {
    const auto magnitude = [](const float* p) IQ_INLINE {
      return as_float(bit_and(as_int(load(p)), set1i(0x7fffffff)));
    };
    for (int64_t i = 0; i < channels; i += kLanes) {
      const F32 sum = fma(magnitude(scale + i), set1(2147483648.0f), magnitude(bias + i));
      const F32 y = add(sum, set1(more));
      if (!all(less(mul(y, inv_scale), set1(1073741824.0f)))) return false;
    }
    return true;
  }

  /// The case of results that are bounded() or not.
  IQ_INLINE ByteCase known(bool is_bounded) const {
    if (!is_bounded) return ByteCase::kAny;
    const bool whole = zero_point == 0 && low == 0 && high == 255;
    return whole ? ByteCase::kWhole : ByteCase::kBounded;
  }
};

}  // namespace
}  // namespace ipex_quant::kernels
