// Copies of rows with a lookup in AVX-512 VBMI: two vpermi2b over the halves of the table, chosen
// by the top bit.
#include "kernels/eltwise/copy_rows_body.h"

namespace ipex_quant::kernels {
namespace {

struct ByteTable : WholeTable {
  using WholeTable::WholeTable;
  __m512i operator()(__m512i index) const {
    const __m512i low = _mm512_permutex2var_epi8(part[0], index, part[1]);
    const __m512i high = _mm512_permutex2var_epi8(part[2], index, part[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
  }
};

}  // namespace

void copy_rows_avx512vbmi(const CopyRowsArgs& args) { copy_rows_body<ByteTable>(args); }

}  // namespace ipex_quant::kernels
