// Copies of rows with a lookup in AVX-512 without VBMI: vpermi2w finds the pair of entries, a shift
// the entry in it.
#include "kernels/eltwise/copy_rows_body.h"

namespace ipex_quant::kernels {
namespace {

struct WordTable : WholeTable {
  using WholeTable::WholeTable;
  /// Entries at indices of 0..255 in words; the high byte is another entry or 0.
  __m512i entries(__m512i index) const {
    const __m512i pair = _mm512_srli_epi16(index, 1);
    const __m512i low = _mm512_permutex2var_epi16(part[0], pair, part[1]);
    const __m512i high = _mm512_permutex2var_epi16(part[2], pair, part[3]);
    const __mmask32 in_high = _mm512_test_epi16_mask(index, _mm512_set1_epi16(0x80));
    const __m512i odd = _mm512_and_si512(index, _mm512_set1_epi16(1));
    return _mm512_srlv_epi16(_mm512_mask_blend_epi16(in_high, low, high),
                             _mm512_slli_epi16(odd, 3));
  }
  __m512i operator()(__m512i index) const {
    const __m512i low_byte = _mm512_set1_epi16(0xff);
    const __m512i even = entries(_mm512_and_si512(index, low_byte));
    const __m512i odd = entries(_mm512_srli_epi16(index, 8));
    return _mm512_or_si512(_mm512_and_si512(even, low_byte), _mm512_slli_epi16(odd, 8));
  }
};

}  // namespace

void copy_rows_avx512(const CopyRowsArgs& args) { copy_rows_body<WordTable>(args); }

}  // namespace ipex_quant::kernels
