// The depthwise convolution in portable C++.
#include "kernels/depthwise/block.h"
#include "kernels/epilogue_apply.h"

namespace ipex_quant::kernels {

void depthwise_u8s8s32_1x16_reference(const DepthwiseBlock& b) {
  const int64_t per_row = b.row_groups * b.columns * kDepthwiseUnit * 4;
  for (int64_t row = 0; row < b.rows; ++row) {
    for (int64_t ox = 0; ox < b.out_width; ++ox) {
      float y[kDepthwiseChunk] = {};
      for (int64_t c = 0; c < b.channels; ++c) {
        const int8_t* unit = b.weight + (c / kDepthwiseUnit * b.share + row) * per_row;
        I32 acc = set1i(b.start[c]);
        for (int64_t line = 0; line < 4 * b.row_groups; ++line) {
          for (int64_t kx = 0; kx < b.columns; ++kx) {
            const int64_t ix = ox * b.stride + kx * b.dilation - b.pad;
            const bool inside = ix >= 0 && ix < b.width;
            const int32_t x = inside ? b.lines[line][ix * b.line_step[line] + c] : b.zero_point;
            const int64_t vector = line / 4 * b.columns + kx;
            const int32_t w = unit[(vector * kDepthwiseUnit + c % kDepthwiseUnit) * 4 + line % 4];
            acc = add(acc, I32{x * w});
          }
        }
        y[c] = fma(to_float(acc), set1(b.scale[c]), set1(b.bias[c])).v;
      }
      const int64_t pixel = b.dst_row + row * b.out_width + ox;
      const int64_t at = pixel * b.dst_stride + b.col;
      void* out = b.epilogue->chain.quantize ? static_cast<void*>(static_cast<uint8_t*>(b.dst) + at)
                                             : static_cast<void*>(static_cast<float*>(b.dst) + at);
      finish_row(*b.epilogue, y, b.channels, pixel, b.col, out);
    }
  }
}

}  // namespace ipex_quant::kernels
