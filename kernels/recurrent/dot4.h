/// \file
/// The integer step of a gate product for the ISA of the including file, and the shifts around it.
///
/// Include it from ISA files only. An ISA file with vpdpbusd defines IQ_DOT_VNNI first.
#pragma once

#include "kernels/simd.h"

#if defined(IQ_DOT_VNNI)
#include "kernels/gemm/dot_vnni.h"
#elif defined(__AVX2__)
#include "kernels/gemm/dot_widened.h"
#endif

namespace ipex_quant::kernels {
namespace {

#if defined(IQ_DOT_VNNI)
using Dot = DotVnni;
#elif defined(__AVX2__)
using Dot = DotWidened;
#else
struct DotScalar {
  using A = const uint8_t*;
  using B = const int8_t*;
  static A load_a(const uint8_t* p) { return p; }
  static B load_b(const int8_t* p) { return p; }
  static void dot(I32& acc, A a, B b) {
    for (int i = 0; i < 4; ++i) acc.v += static_cast<int32_t>(a[i]) * b[i];
  }
};
using Dot = DotScalar;
#endif

#if defined(__AVX512F__)
inline I32 mul(I32 a, I32 b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
inline I32 shift_right(I32 a, int n) { return {_mm512_srli_epi32(a.v, n)}; }
#elif defined(__AVX2__)
inline I32 mul(I32 a, I32 b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
inline I32 shift_right(I32 a, int n) { return {_mm256_srli_epi32(a.v, n)}; }
#else
inline I32 mul(I32 a, I32 b) { return {a.v * b.v}; }
inline I32 shift_right(I32 a, int n) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) >> n)};
}
#endif

}  // namespace
}  // namespace ipex_quant::kernels
