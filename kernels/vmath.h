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

/// y * sigmoid(y).
inline F32 silu_v(F32 y) {
  y = max(set1(-200.0f), y);  // sigmoid(-200) is 0: keeps -inf * 0 out
  return mul(y, sigmoid_v(y));
}

/// erf(x / sqrt 2) / 2 for x = (n + f) * 5.5 / 15, n = 0..15 and |f| <= 1/2, as polynomials in f:
/// row i holds the factors of f^i, column n those of one polynomial. Minimax for the absolute error
/// of each, 2e-8 at most; it is 0 at 0 and 1/2 at 5.5.
alignas(64) constexpr float kHalfErf[6][16] = {
    {0, 0x1.24ffdep-3f, 0x1.12c31cp-2f, 0x1.7513f4p-2f, 0x1.b70e98p-2f, 0x1.ddd28cp-2f,
     0x1.f1c34cp-2f, 0x1.fabe22p-2f, 0x1.fe4876p-2f, 0x1.ff8146p-2f, 0x1.ffdfcap-2f, 0x1.fff8cap-2f,
     0x1.fffe94p-2f, 0x1.ffffc2p-2f, 0x1.fffff6p-2f, 0x1p-1f},
    {0x1.2b943ap-3f, 0x1.181a46p-3f, 0x1.c9e4bcp-4f, 0x1.472f58p-4f, 0x1.98c16cp-5f, 0x1.be6c04p-6f,
     0x1.aa399ap-7f, 0x1.63bfc6p-8f, 0x1.0392dp-9f, 0x1.4b2526p-11f, 0x1.714eb6p-13f,
     0x1.680e3ep-15f, 0x1.32e04ap-17f, 0x1.c94c26p-20f, 0x1.29ddp-22f, 0x1.039a6ap-19f},
    {0x1.321e16p-25f, -0x1.2d4236p-7f, -0x1.ec7b32p-7f, -0x1.07ed56p-6f, -0x1.b7a4p-7f,
     -0x1.2c193ap-7f, -0x1.57d3d6p-8f, -0x1.4ecdcap-9f, -0x1.172f2cp-10f, -0x1.90ab0ep-12f,
     -0x1.f0759ap-14f, -0x1.0a2f82p-15f, -0x1.eeeb4cp-18f, -0x1.8f686p-20f, -0x1.181862p-22f,
     0x1.fbb5b4p-16f},
    {-0x1.ada886p-9f, -0x1.5bad62p-9f, -0x1.2f866p-10f, 0x1.8a139p-12f, 0x1.515f34p-10f,
     0x1.79e54ap-10f, 0x1.256604p-10f, 0x1.64592ep-11f, 0x1.61d97p-12f, 0x1.258a32p-13f,
     0x1.9be7dap-15f, 0x1.eca94ep-17f, 0x1.f8e238p-19f, 0x1.bcfa64p-21f, 0x1.52345ep-23f,
     0x1.63d9bap-13f},
    {0x1.212a9ep-20f, 0x1.33097ep-12f, 0x1.afd12ep-12f, 0x1.515dc6p-12f, 0x1.0c95c8p-13f,
     -0x1.2c48ecp-15f, -0x1.c17ebep-14f, -0x1.ad223ap-14f, -0x1.18ba1p-14f, -0x1.1cd6cap-15f,
     -0x1.d56212p-17f, -0x1.414f44p-18f, -0x1.725612p-20f, -0x1.6a675ep-22f, -0x1.2eda8p-24f,
     0x1.96918ep-12f},
    {0x1.0f1a3ep-14f, 0x1.7ba002p-15f, 0x1.3eab2ep-20f, -0x1.171992p-15f, -0x1.4a9b9p-15f,
     -0x1.93a15ep-16f, -0x1.5f1c04p-18f, 0x1.71c2fep-18f, 0x1.f96e7ap-18f, 0x1.67024p-18f,
     0x1.70c138p-19f, 0x1.2a0344p-20f, 0x1.88ee2cp-22f, 0x1.aede8cp-24f, 0x1.8d9a02p-26f,
     0x1.453fbp-12f},
};

/// tanh(sqrt(2/pi) * (x + 0.044715 x^3)) / 2 in the form of kHalfErf: 2e-8 at most.
alignas(64) constexpr float kHalfTanh[6][16] = {
    {0, 0x1.24f822p-3, 0x1.12ac28p-2, 0x1.74e79p-2, 0x1.b6e672p-2, 0x1.ddccb8p-2, 0x1.f1e3p-2,
     0x1.faecfcp-2, 0x1.fe6f4cp-2, 0x1.ff97d6p-2, 0x1.ffe9ap-2, 0x1.fffc1cp-2, 0x1.ffff76p-2,
     0x1.fffff2p-2, 0x1.fffffep-2, 0x1p-1},
    {0x1.2b943cp-3, 0x1.18048ap-3, 0x1.c98118p-4, 0x1.46fd88p-4, 0x1.997004p-5, 0x1.c10614p-6,
     0x1.add094p-7, 0x1.642adap-8, 0x1.f84ea8p-10, 0x1.2bd676p-11, 0x1.259572p-13, 0x1.cf9c68p-16,
     0x1.20f888p-18, 0x1.16653ep-21, 0x1.95e1c2p-25, 0x1.dc9832p-24},
    {0x1.40792p-25, -0x1.2e644cp-7, -0x1.ecbb86p-7, -0x1.070c66p-6, -0x1.b58f9ep-7, -0x1.2bea4cp-7,
     -0x1.5af212p-8, -0x1.54f03cp-9, -0x1.1b163cp-10, -0x1.87d0fep-12, -0x1.bbad2ap-14,
     -0x1.92939cp-16, -0x1.1e8438p-18, -0x1.3925bcp-21, -0x1.014ddcp-24, 0x1.cdad82p-20},
    {-0x1.afc966p-9, -0x1.5c0bf2p-9, -0x1.2a8402p-10, 0x1.9adfb2p-12, 0x1.4e9f3ap-10,
     0x1.73cf98p-10, 0x1.22fc04p-10, 0x1.688d74p-11, 0x1.6d22b2p-12, 0x1.2e8d8ap-13, 0x1.94fd54p-15,
     0x1.adca86p-17, 0x1.6253ep-19, 0x1.bca56ap-22, 0x1.a02288p-25, 0x1.442bd6p-17},
    {0x1.2ecd56p-20, 0x1.391128p-12, 0x1.b34fbap-12, 0x1.4c4fb4p-12, 0x1.feb8e6p-14, -0x1.27296p-15,
     -0x1.ac6b7cp-14, -0x1.a1ed7ap-14, -0x1.1cad58p-14, -0x1.2b547ep-15, -0x1.edbd3ap-17,
     -0x1.3cd5c4p-18, -0x1.378ac2p-20, -0x1.cd58a8p-23, -0x1.f9653ap-26, 0x1.7247f6p-16},
    {0x1.1526b4p-14, 0x1.7fdd96p-15, -0x1.d61cc6p-23, -0x1.225c82p-15, -0x1.43ca12p-15,
     -0x1.7a7742p-16, -0x1.57153ap-18, 0x1.3a4cf4p-18, 0x1.d9bcc4p-18, 0x1.6e067cp-18,
     0x1.8e802cp-19, 0x1.4105fp-20, 0x1.7ffa92p-22, 0x1.520da4p-24, 0x1.b0ae5p-27, 0x1.284b2ep-16},
};

/// y/2 + |y| * half(|y|). Sixteen short polynomials and a table of their factors: this runs on
/// every output of a linear, where one long polynomial, an exp or a division cost twice as much.
template <class V>
inline IQ_INLINE V gelu_v(V y, const float (&half)[6][16]) {
  const V low = max(set1(-5.5f), y);  // the result is 0 there
  const V a = abs_v(low);
  const V x = min(set1(15.0f), mul(a, set1(0x1.5d1748p+1f)));  // 15 / 5.5, rounded up
  // 1.5 * 2^23: the sum has no fraction, its last bits are the nearest integer of x.
  const V sum = add(x, set1(12582912.0f));
  const auto n = as_int(sum);
  const V f = sub(x, sub(sum, set1(12582912.0f)));
  V p = fma(lookup16(half[5], n), f, lookup16(half[4], n));
  p = fma(p, f, lookup16(half[3], n));
  p = fma(p, f, lookup16(half[2], n));
  p = fma(p, f, lookup16(half[1], n));
  p = fma(p, f, lookup16(half[0], n));
  return fma(a, p, mul(low, set1(0.5f)));
}

/// y/2 * (1 + erf(y / sqrt 2)).
template <class V>
inline IQ_INLINE V gelu_erf_v(V y) {
  return gelu_v(y, kHalfErf);
}

/// y/2 * (1 + tanh(sqrt(2/pi) * (y + 0.044715 y^3))).
template <class V>
inline IQ_INLINE V gelu_tanh_v(V y) {
  return gelu_v(y, kHalfTanh);
}

/// y * clamp(y + 3, 0, 6) / 6.
inline F32 hardswish_v(F32 y) {
  const F32 low = max(set1(-3.0f), y);  // keeps -inf * 0 out
  return mul(low, mul(min(set1(6.0f), add(low, set1(3.0f))), set1(0x1.555556p-3f)));
}

/// clamp(y + 3, 0, 6) / 6.
inline F32 hardsigmoid_v(F32 y) {
  const F32 c = min(set1(6.0f), max(set1(0.0f), add(y, set1(3.0f))));
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
