// Portable copies of rows, perhaps through a table of 256 entries.
#include <cstring>

#include "kernels/eltwise/eltwise.h"

namespace ipex_quant::kernels {

void copy_rows_reference(const CopyRowsArgs& args) {
  const uint8_t* src = args.src;
  uint8_t* dst = args.dst;
  for (int64_t row = 0; row < args.rows; ++row, src += args.src_stride, dst += args.dst_stride) {
    if (args.table == nullptr) {
      std::memcpy(dst, src, static_cast<size_t>(args.cols));
    } else {
      for (int64_t i = 0; i < args.cols; ++i) dst[i] = args.table[src[i]];
    }
  }
}

}  // namespace ipex_quant::kernels
