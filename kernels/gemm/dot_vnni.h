/// \file
/// The multiply-add by vpdpbusd.
///
/// Written as one line of assembly: around the intrinsic GCC 12 stores and reloads every
/// accumulator, which costs a factor of three.
#pragma once

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
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc.v) : "v"(a.v), "v"(b.v));
  }
  /// The same with weights that are used once: read by the instruction itself, from p + Offset. A
  /// pointer for each would be more than there are registers.
  template <int Offset>
  static void dot_at(I32& acc, A a, const int8_t* p) {
    __asm__("vpdpbusd %c3(%2), %1, %0"
            : "+v"(acc.v)
            : "v"(a.v), "r"(p), "i"(Offset),
              "m"(*reinterpret_cast<const int8_t (*)[Offset + 64]>(p)));
  }
#else
  static B load_b(const int8_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  static void dot(I32& acc, A a, B b) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc.v) : "x"(a.v), "x"(b.v));
  }
  template <int Offset>
  static void dot_at(I32& acc, A a, const int8_t* p) {
    __asm__("%{vex%} vpdpbusd %c3(%2), %1, %0"
            : "+x"(acc.v)
            : "x"(a.v), "r"(p), "i"(Offset),
              "m"(*reinterpret_cast<const int8_t (*)[Offset + 32]>(p)));
  }
#endif
};

}  // namespace
}  // namespace ipex_quant::kernels
