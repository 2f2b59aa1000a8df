// Portable packing of B and row sums of A.
#include "kernels/matmul/steps.h"

namespace ipex_quant::kernels {

void pack_columns_reference(const PackColumnsArgs& args) {
  for (int64_t n = 0; n < 16; ++n) args.sums[n] = 0;
  for (int64_t group = 0; group * 4 < args.k; ++group) {
    int8_t* out = args.dst + group * args.dst_stride;
    for (int64_t i = 0; i < 64; ++i) {
      const int64_t n = i / 4;
      const int64_t k = group * 4 + i % 4;
      const bool inside = n < args.columns && k < args.k;
      const int32_t value = inside ? args.src[k * args.k_stride + n * args.n_stride] - 128 : 0;
      out[i] = static_cast<int8_t>(value);
      args.sums[n] += value;
    }
  }
}

void row_sums_reference(const RowSumsArgs& args) {
  for (int64_t r = 0; r < args.count; ++r) {
    int32_t sum = 0;
    for (int64_t k = 0; k < args.k; ++k) sum += args.rows[r][k];
    args.sums[r] = sum;
  }
}

}  // namespace ipex_quant::kernels
