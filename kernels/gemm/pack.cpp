// Brings plain weights into the layout of the micro-kernels.
#include <algorithm>

#include "kernels/gemm/gemm.h"

namespace ipex_quant::kernels {

GemmWeight pack_gemm_weight(const GemmWeightView& view) {
  GemmWeight packed;
  packed.groups = view.groups;
  packed.n = view.n;
  packed.taps = view.taps;
  packed.depth = (view.depth + kGemmDepth - 1) / kGemmDepth * kGemmDepth;
  const int64_t padded_n = packed.padded_n();
  const int64_t rows = packed.taps * packed.depth;
  packed.data.assign(static_cast<size_t>(view.groups * padded_n * rows + kGemmWeightTail), 0);
  packed.sums.assign(static_cast<size_t>(view.groups * padded_n), 0);
  for (int64_t g = 0; g < view.groups; ++g) {
    for (int64_t n = 0; n < view.n; ++n) {
      const int64_t block = n / kGemmBlock * kGemmBlock;
      const int64_t width = std::min(kGemmBlock, padded_n - block);
      int8_t* out = packed.data.data() + (g * padded_n + block) * rows + (n - block) * kGemmDepth;
      int32_t sum = 0;
      for (int64_t t = 0; t < view.taps; ++t) {
        const int8_t* in =
            view.data + g * view.group_stride + n * view.n_stride + t * view.tap_stride;
        for (int64_t k = 0; k < view.depth; ++k) {
          const int8_t w = in[k * view.depth_stride];
          const int64_t at = t * packed.depth + k;
          out[at / kGemmDepth * width * kGemmDepth + at % kGemmDepth] = w;
          sum += w;
        }
      }
      packed.sums[static_cast<size_t>(g * padded_n + n)] = sum;
    }
  }
  return packed;
}

}  // namespace ipex_quant::kernels
