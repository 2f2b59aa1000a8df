/// \file
/// Copies of rows, perhaps through a table of 256 bytes, for the including file's ISA.
///
/// A row of channels is often a register long: a call of memcpy would cost more. Include it from
/// ISA files only (see simd.h).
#pragma once

#include <cstring>

#include "kernels/eltwise/eltwise.h"
#include "kernels/register_bytes.h"

namespace ipex_quant::kernels {
namespace {

#if defined(__AVX512F__)
/// A table of 256 bytes in four registers.
struct WholeTable {
  RegisterOfBytes part[4];

  explicit WholeTable(const uint8_t* table) {
    for (int i = 0; i < 4; ++i) part[i] = load_bytes(table + 64 * i);
  }
};
#endif

/// dst[0..n) = f(src[0..n)) of fewer bytes than a register has.
template <class F>
inline void map_some(const uint8_t* src, uint8_t* dst, int64_t n, const F& f) {
#if defined(__AVX512F__)
  const __mmask64 some = (__mmask64{1} << n) - 1;
  _mm512_mask_storeu_epi8(dst, some, f(_mm512_maskz_loadu_epi8(some, src)));
#else
  uint8_t bytes[sizeof(RegisterOfBytes)] = {};
  std::memcpy(bytes, src, static_cast<size_t>(n));
  store_bytes(bytes, f(load_bytes(bytes)));
  std::memcpy(dst, bytes, static_cast<size_t>(n));
#endif
}

/// Stores f(bytes) of each register of bytes.
template <class F>
inline void for_rows(const CopyRowsArgs& args, const F& f) {
  constexpr int64_t kWidth = sizeof(RegisterOfBytes);
  const int64_t whole = args.cols / kWidth * kWidth;
  const uint8_t* src = args.src;
  uint8_t* dst = args.dst;
  for (int64_t row = 0; row < args.rows; ++row, src += args.src_stride, dst += args.dst_stride) {
    for (int64_t i = 0; i < whole; i += kWidth) store_bytes(dst + i, f(load_bytes(src + i)));
    if (whole < args.cols) map_some(src + whole, dst + whole, args.cols - whole, f);
  }
}

/// \tparam Table  made from the address of a table, gives the entries at the indices in a register
template <class Table>
inline void copy_rows_body(const CopyRowsArgs& args) {
  if (args.table == nullptr) return for_rows(args, [](RegisterOfBytes bytes) { return bytes; });
  for_rows(args, Table(args.table));
}

}  // namespace
}  // namespace ipex_quant::kernels
