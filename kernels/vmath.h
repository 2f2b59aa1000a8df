/// \file
/// Elementary functions of vectors, for epilogues and gates: exp, sigmoid, tanh, gelu and their
/// kin.
///
/// Include it from ISA files only (see simd.h). Everything is built of simd.h operations in a fixed
/// order, so all ISAs give the same bits. A NaN gives a NaN; infinities give the limit.
///
/// Largest errors (tests/kernels/test_vmath.py measures them against float64):
///   exp, elu with alpha 1                        1 ulp
///   sigmoid, tanh                                2 ulp
///   gelu (both), silu, mish, hardswish           3 * 2^-24 * max(|y|, 2^-14), absolute
/// Denormal results of exp and sigmoid are as accurate.
///
/// All polynomials are our own minimax fits: Remez exchange in 40-digit arithmetic, then each
/// coefficient rounded to float; the range, the weight and the error reached stand at each.
#pragma once

#include "kernels/half_tables.h"
#include "kernels/simd.h"
#include "kernels/wide.h"

namespace ipex_quant::kernels {
namespace {

template <class V>
inline IQ_INLINE V abs_v(V y) {
  return as_float(bit_and(as_int(y), set1i(0x7fffffff)));
}

/// y = n * ln 2 + r with |r| <= 0.347, and p = (exp(r) - 1 - r) / r^2.
struct ExpParts {
  F32 n;      ///< an integer
  F32 power;  ///< 2^n for n in -126..127
  F32 r;
  F32 p;
};

inline ExpParts exp_parts(F32 y) {
  // 1.5 * 2^23 + 127: the sum has no fraction, its last bits are n + 127.
  const F32 magic = set1(12583039.0f);
  const F32 sum = fma(y, set1(0x1.715476p+0f), magic);  // 1 / ln 2
  const F32 n = sub(sum, magic);
  // ln 2 in two parts; the first has 15 bits, so n times it is exact.
  F32 r = fma(n, set1(-0x1.62e4p-1f), y);
  r = fma(n, set1(-0x1.7f7d1cp-20f), r);
  // Minimax on |r| <= 0.34675 for the relative error of exp: degree 4, 3.1e-9.
  F32 p = fma(set1(0x1.6a23cap-10f), r, set1(0x1.123a2p-7f));
  p = fma(p, r, set1(0x1.5558f4p-5f));
  p = fma(p, r, set1(0x1.555492p-3f));
  p = fma(p, r, set1(0x1.fffffcp-2f));
  return {n, as_float(shift_left(as_int(sum), 23)), r, p};
}

/// exp(y) for y in -104..89, or NaN.
inline F32 exp_bounded(F32 y) {
  const ExpParts e = exp_parts(y);
  // 1 + r + r^2 p, with the rounding error of 1 + r carried along.
  const F32 one_r = add(set1(1.0f), e.r);
  const F32 lost = sub(e.r, sub(one_r, set1(1.0f)));
  return scale_by_power(add(one_r, fma(mul(e.r, e.r), e.p, lost)), e.n);
}

/// exp(y).
inline F32 exp_v(F32 y) {
  // Outside of these bounds the result is 0 or infinite. Constants first: a NaN stays.
  return exp_bounded(max(set1(-104.0f), min(set1(89.0f), y)));
}

/// exp(y) - 1 for y in -87..88: small where y is small, without cancellation.
inline F32 expm1_v(F32 y) {
  const ExpParts e = exp_parts(y);
  const F32 q = fma(mul(e.r, e.r), e.p, e.r);  // exp(r) - 1
  return fma(e.power, q, sub(e.power, set1(1.0f)));
}

/// 1 / (1 + exp(-y)).
inline F32 sigmoid_v(F32 y) {
  // exp of a number that is not positive keeps both tails accurate.
  const F32 minus = as_float(bit_or(as_int(y), set1i(INT32_MIN)));
  const F32 e = exp_bounded(max(set1(-104.0f), minus));
  const F32 sum = add(set1(1.0f), e);
  const F32 quotient = div(select(less(y, set1(0.0f)), e, set1(1.0f)), sum);
  // Takes the rounding error of the sum out again; 3/4 stands for 1 / sum, which is in 1/2..1.
  const F32 lost = sub(e, sub(sum, set1(1.0f)));
  return fma(quotient, mul(lost, set1(-0.75f)), quotient);
}

/// tanh(y): a polynomial near 0, else 1 - 2 / (exp(2|y|) + 1) with the sign of y.
inline F32 tanh_v(F32 y) {
  const F32 a = min(set1(9.5f), abs_v(y));  // tanh(9.5) rounds to 1
  const ExpParts e = exp_parts(add(a, a));
  const F32 exp_r = add(fma(mul(e.r, e.r), e.p, e.r), set1(1.0f));
  const F32 sum = fma(exp_r, e.power, set1(1.0f));
  const F32 far = sub(set1(1.0f), div(set1(2.0f), sum));
  // (tanh(a) - a) / a^3, minimax in s = a^2 on a <= 0.56 for the relative error of tanh: degree 4,
  // 1.3e-9.
  const F32 s = mul(a, a);
  F32 p = fma(set1(-0x1.963d5ep-8f), s, set1(0x1.58669ap-6f));
  p = fma(p, s, set1(-0x1.b90fcp-5f));
  p = fma(p, s, set1(0x1.110c98p-3f));
  p = fma(p, s, set1(-0x1.555548p-2f));
  const F32 near = fma(mul(s, a), p, a);
  const F32 t = select(less(a, set1(0.55f)), near, far);
  return as_float(bit_or(as_int(t), bit_and(as_int(y), set1i(INT32_MIN))));
}

/// y/2 + |y| * half(|y|), where the table gives half() on steps of bound / 15; it is 1/2 from the
/// bound on. Sixteen short polynomials and a table of their factors: this runs on every output of
/// a layer, where one long polynomial, an exp or a division cost twice as much.
template <int Terms, class V>
inline IQ_INLINE V by_halves(V y, const float (&half)[Terms][16], float bound, float steps) {
  const V low = max(set1(-bound), y);  // the result is 0 there
  const V a = abs_v(low);
  const V x = min(set1(15.0f), mul(a, set1(steps)));
  // 1.5 * 2^23: the sum has no fraction, its last bits are the nearest integer of x.
  const V sum = add(x, set1(12582912.0f));
  const auto n = as_int(sum);
  const V f = sub(x, sub(sum, set1(12582912.0f)));
  V p = fma(lookup16(half[Terms - 1], n), f, lookup16(half[Terms - 2], n));
  unroll<Terms - 2>([&](auto i) IQ_INLINE { p = fma(p, f, lookup16(half[Terms - 3 - i], n)); });
  return fma(a, p, mul(low, set1(0.5f)));
}

/// y/2 * (1 + erf(y / sqrt 2)).
template <class V>
inline IQ_INLINE V gelu_erf_v(V y) {
  return by_halves(y, kHalfErf, 5.5f, 0x1.5d1748p+1f);  // 15 / 5.5, rounded up
}

/// y/2 * (1 + tanh(sqrt(2/pi) * (y + 0.044715 y^3))).
template <class V>
inline IQ_INLINE V gelu_tanh_v(V y) {
  return by_halves(y, kHalfTanh, 5.5f, 0x1.5d1748p+1f);
}

/// y * sigmoid(y).
template <class V>
inline IQ_INLINE V silu_v(V y) {
  return by_halves(y, kHalfSigmoid, 18.0f, 0x1.aaaaacp-1f);  // 15 / 18, rounded up
}

/// y * clamp(y + 3, 0, 6) / 6.
template <class V>
inline IQ_INLINE V hardswish_v(V y) {
  const V low = max(set1(-3.0f), y);  // keeps -inf * 0 out
  return mul(low, mul(min(set1(6.0f), add(low, set1(3.0f))), set1(0x1.555556p-3f)));
}

/// clamp(y + 3, 0, 6) / 6.
template <class V>
inline IQ_INLINE V hardsigmoid_v(V y) {
  const V c = min(set1(6.0f), max(set1(0.0f), add(y, set1(3.0f))));
  return mul(c, set1(0x1.555556p-3f));
}

/// y < 0 ? a * y : y.
inline F32 leaky_relu_v(F32 y, F32 a) { return select(less(y, set1(0.0f)), mul(a, y), y); }

/// y < 0 ? alpha * (exp(y) - 1) : y.
inline F32 elu_v(F32 y, F32 alpha) {
  const F32 negative = mul(alpha, expm1_v(max(set1(-87.0f), min(set1(0.0f), y))));
  return select(less(y, set1(0.0f)), negative, y);
}

/// y * tanh(log(1 + exp(y))) = y * n / (n + 2) with n = e (e + 2) and e = exp(y).
inline F32 mish_v(F32 y) {
  const F32 low = max(set1(-200.0f), y);       // exp(-200) is 0: keeps -inf * 0 out
  const F32 e = exp_v(min(set1(20.0f), low));  // the factor rounds to 1 from 9 on
  const F32 n = mul(e, add(e, set1(2.0f)));
  return mul(low, div(n, add(n, set1(2.0f))));
}

}  // namespace
}  // namespace ipex_quant::kernels
