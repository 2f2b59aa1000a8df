/// \file
/// The multiply-add by vpdpbusd.
///
/// Written as one line of assembly: around the intrinsic GCC 12 stores and reloads every
/// accumulator, which costs a factor of three. Its operand is a local variable: an element of an
/// array would be kept in memory, too, and stored by every instruction.
#pragma once

#include "kernels/emulate.h"
#include "kernels/simd.h"

namespace ipex_quant::kernels {
namespace {

struct DotVnni {
  using A = I32;
  using B = I32;
  static A make_a(I32 bytes) { return bytes; }
  static A load_a(const uint8_t* p) {
    int32_t word;
    __builtin_memcpy(&word, p, 4);
    return set1i(word);
  }
#if defined(__AVX512VNNI__)
  static B load_b(const int8_t* p) { return {_mm512_loadu_si512(p)}; }
  static void dot(I32& acc, A a, B b) {
    __m512i sum = acc.v;
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a.v), "v"(b.v));
    acc.v = sum;
  }
#else
  static B load_b(const int8_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  static void dot(I32& acc, A a, B b) {
    __m256i sum = acc.v;
    __asm__(IQ_VPDPBUSD_256 " %2, %1, %0" : "+x"(sum) : "x"(a.v), "x"(b.v));
    acc.v = sum;
  }
#endif
};

}  // namespace
}  // namespace ipex_quant::kernels
