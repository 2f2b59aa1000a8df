// Copies of rows with a lookup in AVX2: vpshufb in each sixteenth of the table.
#include "kernels/eltwise/copy_rows_body.h"

namespace ipex_quant::kernels {
namespace {

struct NibbleTable {
  __m256i part[16];

  explicit NibbleTable(const uint8_t* table) {
    for (int i = 0; i < 16; ++i) {
      const auto* p = reinterpret_cast<const __m128i*>(table + 16 * i);
      part[i] = _mm256_broadcastsi128_si256(_mm_loadu_si128(p));
    }
  }
  __m256i operator()(__m256i index) const {
    // vpshufb gives 0 for an index from 128 on. The sum is below that, and ends in the low half of
    // the index, only where the high half is i.
    const __m256i only_here = _mm256_set1_epi8(0x70);
    __m256i found = _mm256_setzero_si256();
    for (int i = 0; i < 16; ++i) {
      const __m256i here = _mm256_xor_si256(index, _mm256_set1_epi8(static_cast<char>(16 * i)));
      const __m256i at = _mm256_adds_epu8(here, only_here);
      found = _mm256_or_si256(found, _mm256_shuffle_epi8(part[i], at));
    }
    return found;
  }
};

}  // namespace

void copy_rows_avx2(const CopyRowsArgs& args) { copy_rows_body<NibbleTable>(args); }

}  // namespace ipex_quant::kernels
