/// \file
/// One register of bytes, for the vector ISA of the including file.
///
/// Include it from ISA files only (see simd.h).
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>

namespace ipex_quant::kernels {
namespace {

#if defined(__AVX512F__)
using RegisterOfBytes = __m512i;
inline RegisterOfBytes load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline void store_bytes(uint8_t* p, RegisterOfBytes x) { _mm512_storeu_si512(p, x); }
#else
using RegisterOfBytes = __m256i;
inline RegisterOfBytes load_bytes(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline void store_bytes(uint8_t* p, RegisterOfBytes x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x);
}
#endif

}  // namespace
}  // namespace ipex_quant::kernels

#endif
