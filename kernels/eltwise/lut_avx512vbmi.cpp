// 256-entry table lookup: two vpermi2b over the halves of the table, chosen by the top bit.
#include <immintrin.h>

#include "kernels/eltwise/eltwise.h"

namespace ipex_quant::kernels {

void lut_avx512vbmi(const LutArgs& args) {
  const __m512i t0 = _mm512_loadu_si512(args.table);
  const __m512i t1 = _mm512_loadu_si512(args.table + 64);
  const __m512i t2 = _mm512_loadu_si512(args.table + 128);
  const __m512i t3 = _mm512_loadu_si512(args.table + 192);
  const auto look_up = [&](__m512i index) {
    const __m512i low = _mm512_permutex2var_epi8(t0, index, t1);
    const __m512i high = _mm512_permutex2var_epi8(t2, index, t3);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
  };
  int64_t i = 0;
  for (; i + 64 <= args.n; i += 64) {
    _mm512_storeu_si512(args.dst + i, look_up(_mm512_loadu_si512(args.src + i)));
  }
  if (i < args.n) {
    const __mmask64 rest = ~__mmask64{0} >> (64 - (args.n - i));
    _mm512_mask_storeu_epi8(args.dst + i, rest,
                            look_up(_mm512_maskz_loadu_epi8(rest, args.src + i)));
  }
}

}  // namespace ipex_quant::kernels
