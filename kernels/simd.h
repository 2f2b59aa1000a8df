/// \file
/// One vector of float32 / int32 lanes, for the ISA of the including file.
///
/// Include it from ISA files only. Everything is in an unnamed namespace, so that no inline
/// function of one ISA can be linked into another's code. Each operation is one IEEE operation with
/// the same result on every ISA: fma is fused, to_int rounds half to even, min/max return the
/// second operand when an operand is NaN (as x86 does). That is what makes all ISAs give the same
/// bits.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#else
#include <cmath>
#include <cstring>
#endif

namespace ipex_quant::kernels {
namespace {

#if defined(__AVX512F__)

constexpr int kLanes = 16;
struct F32 {
  __m512 v;
};
struct I32 {
  __m512i v;
};
struct Mask {
  __mmask16 v;
};

inline F32 set1(float x) { return {_mm512_set1_ps(x)}; }
inline I32 set1i(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline F32 load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, F32 x) { _mm512_storeu_ps(p, x.v); }
inline I32 load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
inline void store(int32_t* p, I32 x) { _mm512_storeu_si512(p, x.v); }
/// kLanes bytes, zero-extended.
inline I32 load_u8(const uint8_t* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
/// Stores lanes as bytes; they must be in 0..255.
inline void store_u8(uint8_t* p, I32 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x.v));
}
inline F32 add(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F32 sub(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F32 mul(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F32 div(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline I32 add(I32 a, I32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline I32 sub(I32 a, I32 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline I32 shift_left(I32 a, int n) { return {_mm512_slli_epi32(a.v, n)}; }
inline I32 bit_and(I32 a, I32 b) { return {_mm512_and_si512(a.v, b.v)}; }
inline I32 bit_or(I32 a, I32 b) { return {_mm512_or_si512(a.v, b.v)}; }
inline F32 to_float(I32 a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline I32 to_int(F32 a) { return {_mm512_cvtps_epi32(a.v)}; }
inline I32 as_int(F32 a) { return {_mm512_castps_si512(a.v)}; }
inline F32 as_float(I32 a) { return {_mm512_castsi512_ps(a.v)}; }
/// x * 2^n, rounded once, for |x| in 1/2..2 and an integer n in -250..250.
inline F32 scale_by_power(F32 x, F32 n) { return {_mm512_scalef_ps(x.v, n.v)}; }
inline Mask less(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask is_nan(F32 a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
inline bool all(Mask m) { return m.v == 0xffff; }
/// mask ? a : b
inline F32 select(Mask m, F32 a, F32 b) { return {_mm512_mask_blend_ps(m.v, b.v, a.v)}; }
/// table[index % 16]; the table starts on a cache line.
inline F32 lookup16(const float* table, I32 index) {
  return {_mm512_permutexvar_ps(index.v, _mm512_load_ps(table))};
}

#elif defined(__AVX2__)

constexpr int kLanes = 8;
struct F32 {
  __m256 v;
};
struct I32 {
  __m256i v;
};
struct Mask {
  __m256 v;
};

inline F32 set1(float x) { return {_mm256_set1_ps(x)}; }
inline I32 set1i(int32_t x) { return {_mm256_set1_epi32(x)}; }
inline F32 load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline void store(float* p, F32 x) { _mm256_storeu_ps(p, x.v); }
inline I32 load(const int32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
inline void store(int32_t* p, I32 x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.v); }
inline I32 load_u8(const uint8_t* p) {
  return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
}
inline void store_u8(uint8_t* p, I32 x) {
  const __m128i low = _mm256_castsi256_si128(x.v);
  const __m128i high = _mm256_extracti128_si256(x.v, 1);
  const __m128i words = _mm_packus_epi32(low, high);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}
inline F32 add(F32 a, F32 b) { return {_mm256_add_ps(a.v, b.v)}; }
inline F32 sub(F32 a, F32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline F32 mul(F32 a, F32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline F32 div(F32 a, F32 b) { return {_mm256_div_ps(a.v, b.v)}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline F32 min(F32 a, F32 b) { return {_mm256_min_ps(a.v, b.v)}; }
inline F32 max(F32 a, F32 b) { return {_mm256_max_ps(a.v, b.v)}; }
inline I32 add(I32 a, I32 b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline I32 sub(I32 a, I32 b) { return {_mm256_sub_epi32(a.v, b.v)}; }
inline I32 shift_left(I32 a, int n) { return {_mm256_slli_epi32(a.v, n)}; }
inline I32 bit_and(I32 a, I32 b) { return {_mm256_and_si256(a.v, b.v)}; }
inline I32 bit_or(I32 a, I32 b) { return {_mm256_or_si256(a.v, b.v)}; }
inline F32 to_float(I32 a) { return {_mm256_cvtepi32_ps(a.v)}; }
inline I32 to_int(F32 a) { return {_mm256_cvtps_epi32(a.v)}; }
inline I32 as_int(F32 a) { return {_mm256_castps_si256(a.v)}; }
inline F32 as_float(I32 a) { return {_mm256_castsi256_ps(a.v)}; }
inline Mask less(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask is_nan(F32 a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
inline bool all(Mask m) { return _mm256_movemask_ps(m.v) == 0xff; }
inline F32 select(Mask m, F32 a, F32 b) { return {_mm256_blendv_ps(b.v, a.v, m.v)}; }
inline F32 lookup16(const float* table, I32 index) {
  const __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(table), index.v);
  const __m256 high = _mm256_permutevar8x32_ps(_mm256_load_ps(table + 8), index.v);
  const __m256 is_high = _mm256_castsi256_ps(_mm256_slli_epi32(index.v, 28));  // bit 3 as sign
  return {_mm256_blendv_ps(low, high, is_high)};
}

#else

constexpr int kLanes = 1;
struct F32 {
  float v;
};
struct I32 {
  int32_t v;
};
struct Mask {
  bool v;
};

inline F32 set1(float x) { return {x}; }
inline I32 set1i(int32_t x) { return {x}; }
inline F32 load(const float* p) { return {*p}; }
inline void store(float* p, F32 x) { *p = x.v; }
inline I32 load(const int32_t* p) { return {*p}; }
inline void store(int32_t* p, I32 x) { *p = x.v; }
inline I32 load_u8(const uint8_t* p) { return {static_cast<int32_t>(*p)}; }
inline void store_u8(uint8_t* p, I32 x) { *p = static_cast<uint8_t>(x.v); }
inline F32 add(F32 a, F32 b) { return {a.v + b.v}; }
inline F32 sub(F32 a, F32 b) { return {a.v - b.v}; }
inline F32 mul(F32 a, F32 b) { return {a.v * b.v}; }
inline F32 div(F32 a, F32 b) { return {a.v / b.v}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {std::fma(a.v, b.v, c.v)}; }
inline F32 min(F32 a, F32 b) { return {a.v < b.v ? a.v : b.v}; }
inline F32 max(F32 a, F32 b) { return {a.v > b.v ? a.v : b.v}; }
// Unsigned arithmetic: integer lanes wrap around as the vector instructions do.
inline I32 add(I32 a, I32 b) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) + static_cast<uint32_t>(b.v))};
}
inline I32 sub(I32 a, I32 b) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) - static_cast<uint32_t>(b.v))};
}
inline I32 shift_left(I32 a, int n) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) << n)};
}
inline I32 bit_and(I32 a, I32 b) { return {a.v & b.v}; }
inline I32 bit_or(I32 a, I32 b) { return {a.v | b.v}; }
inline F32 to_float(I32 a) { return {static_cast<float>(a.v)}; }
/// Out of range and NaN give INT32_MIN, as the vector conversion does.
inline I32 to_int(F32 a) {
  const float r = std::nearbyint(a.v);
  return {r >= -2147483648.0f && r < 2147483648.0f ? static_cast<int32_t>(r) : INT32_MIN};
}
inline I32 as_int(F32 a) {
  int32_t r;
  std::memcpy(&r, &a.v, sizeof r);
  return {r};
}
inline F32 as_float(I32 a) {
  float r;
  std::memcpy(&r, &a.v, sizeof r);
  return {r};
}
inline Mask less(F32 a, F32 b) { return {a.v < b.v}; }
inline Mask is_nan(F32 a) { return {a.v != a.v}; }
inline bool all(Mask m) { return m.v; }
inline F32 select(Mask m, F32 a, F32 b) { return m.v ? a : b; }
inline F32 lookup16(const float* table, I32 index) { return {table[index.v & 15]}; }

#endif

#if !defined(__AVX512F__)
inline F32 scale_by_power(F32 x, F32 n) {
  // In two factors: n itself goes beyond the exponents of normal numbers.
  const I32 half = to_int(mul(n, set1(0.5f)));
  const I32 rest = sub(to_int(n), half);
  const auto power = [](I32 i) { return as_float(shift_left(add(i, set1i(127)), 23)); };
  return mul(mul(x, power(half)), power(rest));
}
#endif

}  // namespace
}  // namespace ipex_quant::kernels
