// Copies of rows, and 256-entry table lookup: two vpermi2b over the halves of the table, chosen by
// the top bit. A row of channels is often a register long: a call of memcpy would cost more.
#include <immintrin.h>

#include "kernels/eltwise/eltwise.h"

namespace ipex_quant::kernels {
namespace {

template <class F>
void for_rows(const CopyRowsArgs& args, const F& f) {
  const int64_t whole = args.cols / 64 * 64;
  const __mmask64 rest = (__mmask64{1} << (args.cols - whole)) - 1;
  const uint8_t* src = args.src;
  uint8_t* dst = args.dst;
  for (int64_t row = 0; row < args.rows; ++row, src += args.src_stride, dst += args.dst_stride) {
    for (int64_t i = 0; i < whole; i += 64) {
      _mm512_storeu_si512(dst + i, f(_mm512_loadu_si512(src + i)));
    }
    if (rest != 0) {
      _mm512_mask_storeu_epi8(dst + whole, rest, f(_mm512_maskz_loadu_epi8(rest, src + whole)));
    }
  }
}

}  // namespace

void copy_rows_avx512vbmi(const CopyRowsArgs& args) {
  if (args.table == nullptr) {
    return for_rows(args, [](__m512i bytes) { return bytes; });
  }
  const __m512i t0 = _mm512_loadu_si512(args.table);
  const __m512i t1 = _mm512_loadu_si512(args.table + 64);
  const __m512i t2 = _mm512_loadu_si512(args.table + 128);
  const __m512i t3 = _mm512_loadu_si512(args.table + 192);
  for_rows(args, [&](__m512i index) {
    const __m512i low = _mm512_permutex2var_epi8(t0, index, t1);
    const __m512i high = _mm512_permutex2var_epi8(t2, index, t3);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
  });
}

}  // namespace ipex_quant::kernels
