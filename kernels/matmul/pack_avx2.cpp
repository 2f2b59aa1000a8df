// AVX2 packing of B and row sums of A, in 16-byte steps: the bytes come out in their final order.
#include <immintrin.h>

#include "kernels/matmul/steps.h"

namespace ipex_quant::kernels {
namespace {

__m128i load16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

/// Stores four groups of 4 columns x 4 rows as int8 and adds their bytes to the columns' sums.
void emit(int8_t* dst, __m128i q, __m128i* sums) {
  const __m128i s8 = _mm_xor_si128(q, _mm_set1_epi8(-128));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(dst), s8);
  const __m128i pairs = _mm_maddubs_epi16(_mm_set1_epi8(1), s8);  // at most 256: no saturation
  *sums = _mm_add_epi32(*sums, _mm_madd_epi16(pairs, _mm_set1_epi16(1)));
}

/// 4 rows of 16 adjacent columns at `src`.
void pack_row_group(const uint8_t* src, int64_t k_stride, int8_t* dst, __m128i (&sums)[4]) {
  const __m128i r0 = load16(src), r1 = load16(src + k_stride);
  const __m128i r2 = load16(src + 2 * k_stride), r3 = load16(src + 3 * k_stride);
  const __m128i low01 = _mm_unpacklo_epi8(r0, r1), high01 = _mm_unpackhi_epi8(r0, r1);
  const __m128i low23 = _mm_unpacklo_epi8(r2, r3), high23 = _mm_unpackhi_epi8(r2, r3);
  emit(dst, _mm_unpacklo_epi16(low01, low23), &sums[0]);
  emit(dst + 16, _mm_unpackhi_epi16(low01, low23), &sums[1]);
  emit(dst + 32, _mm_unpacklo_epi16(high01, high23), &sums[2]);
  emit(dst + 48, _mm_unpackhi_epi16(high01, high23), &sums[3]);
}

/// 16 rows of 4 columns whose rows are adjacent, of which `groups` groups of 4 rows are stored: a
/// transpose of 4 x 4 words.
void pack_column_group(const uint8_t* src, int64_t n_stride, int8_t* dst, int64_t dst_stride,
                       int64_t groups, __m128i* sums) {
  const __m128i c0 = load16(src), c1 = load16(src + n_stride);
  const __m128i c2 = load16(src + 2 * n_stride), c3 = load16(src + 3 * n_stride);
  const __m128i low01 = _mm_unpacklo_epi32(c0, c1), high01 = _mm_unpackhi_epi32(c0, c1);
  const __m128i low23 = _mm_unpacklo_epi32(c2, c3), high23 = _mm_unpackhi_epi32(c2, c3);
  emit(dst, _mm_unpacklo_epi64(low01, low23), sums);
  if (groups > 1) emit(dst + dst_stride, _mm_unpackhi_epi64(low01, low23), sums);
  if (groups > 2) emit(dst + 2 * dst_stride, _mm_unpacklo_epi64(high01, high23), sums);
  if (groups > 3) emit(dst + 3 * dst_stride, _mm_unpackhi_epi64(high01, high23), sums);
}

/// A piece of B with 128, which packs as zero, where B has no more rows or columns.
struct Tile {
  alignas(16) uint8_t bytes[16 * 16];

  /// `lines` runs of `length` adjacent bytes, 16 bytes apart in the tile.
  Tile(const uint8_t* src, int64_t stride, int64_t lines, int64_t length) {
    for (int i = 0; i < 16; ++i) {
      _mm_store_si128(reinterpret_cast<__m128i*>(bytes + i * 16), _mm_set1_epi8(-128));
    }
    for (int64_t i = 0; i < lines; ++i) {
      for (int64_t j = 0; j < length; ++j) bytes[i * 16 + j] = src[i * stride + j];
    }
  }
};

void pack_rows(const PackColumnsArgs& args, __m128i (&sums)[4]) {
  for (int64_t k = 0; k < args.k; k += 4) {
    const uint8_t* src = args.src + k * args.k_stride;
    int8_t* dst = args.dst + k / 4 * args.dst_stride;
    if (args.columns == 16 && k + 4 <= args.k) {
      pack_row_group(src, args.k_stride, dst, sums);
    } else {
      const int64_t rows = args.k - k < 4 ? args.k - k : 4;
      pack_row_group(Tile(src, args.k_stride, rows, args.columns).bytes, 16, dst, sums);
    }
  }
}

void pack_transposed(const PackColumnsArgs& args, __m128i (&sums)[4]) {
  for (int64_t k = 0; k < args.k; k += 16) {
    const int64_t rows = args.k - k < 16 ? args.k - k : 16;
    const int64_t groups = (rows + 3) / 4;
    const uint8_t* src = args.src + k;
    int8_t* dst = args.dst + k / 4 * args.dst_stride;
    const auto pack = [&](const uint8_t* from, int64_t stride) {
      for (int n = 0; n < 4; ++n) {
        pack_column_group(from + n * 4 * stride, stride, dst + n * 16, args.dst_stride, groups,
                          &sums[n]);
      }
    };
    if (args.columns == 16 && rows == 16) {
      pack(src, args.n_stride);
    } else {
      pack(Tile(src, args.n_stride, args.columns, rows).bytes, 16);
    }
  }
}

}  // namespace

void pack_columns_avx2(const PackColumnsArgs& args) {
  __m128i sums[4] = {};
  if (args.n_stride == 1) {
    pack_rows(args, sums);
  } else {
    pack_transposed(args, sums);
  }
  for (int n = 0; n < 4; ++n) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(args.sums + n * 4), sums[n]);
  }
}

void row_sums_avx2(const RowSumsArgs& args) {
  for (int64_t r = 0; r < args.count; r += 4) {
    // Four rows at a time, the last one again where there are fewer: one fold for all.
    const int64_t rows = args.count - r < 4 ? args.count - r : 4;
    const uint8_t* row[4];
    __m256i sums[4];
    for (int64_t i = 0; i < 4; ++i) {
      row[i] = args.rows[r + (i < rows ? i : rows - 1)];
      sums[i] = _mm256_setzero_si256();
    }
    int64_t done = 0;
    for (; done + 32 <= args.k; done += 32) {
      for (int64_t i = 0; i < 4; ++i) {
        const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row[i] + done));
        sums[i] = _mm256_add_epi64(sums[i], _mm256_sad_epu8(q, _mm256_setzero_si256()));
      }
    }
    if (done + 16 <= args.k) {
      for (int64_t i = 0; i < 4; ++i) {
        const __m128i sad = _mm_sad_epu8(load16(row[i] + done), _mm_setzero_si128());
        sums[i] = _mm256_add_epi64(sums[i], _mm256_zextsi128_si256(sad));
      }
      done += 16;
    }
    const __m256i first = _mm256_add_epi64(_mm256_unpacklo_epi64(sums[0], sums[1]),
                                           _mm256_unpackhi_epi64(sums[0], sums[1]));
    const __m256i second = _mm256_add_epi64(_mm256_unpacklo_epi64(sums[2], sums[3]),
                                            _mm256_unpackhi_epi64(sums[2], sums[3]));
    alignas(32) int64_t folded[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(folded),
                       _mm256_add_epi64(_mm256_permute2x128_si256(first, second, 0x20),
                                        _mm256_permute2x128_si256(first, second, 0x31)));
    for (int64_t i = 0; i < rows; ++i) {
      int64_t sum = folded[i];
      for (int64_t k = done; k < args.k; ++k) sum += row[i][k];
      args.sums[r + i] = static_cast<int32_t>(sum);
    }
  }
}

}  // namespace ipex_quant::kernels
