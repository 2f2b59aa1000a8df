// Fills the pointer table of a convolution, one run of pixels along the width at a time.
#include "kernels/conv/rows.h"

#include <algorithm>

namespace ipex_quant::kernels {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return a <= 0 ? -(-a / b) : (a + b - 1) / b; }

/// Pointers of one tap for output columns x0 <= j < x0 + count of a row that lies inside the image.
void fill_run(const ConvRows& r, const uint8_t* line, int64_t x0, int64_t count, int64_t offset,
              const uint8_t** pointers) {
  const int64_t stride = r.stride[2];
  // j * stride + offset is inside for inside <= j < outside.
  const int64_t inside = std::clamp(ceil_div(-offset, stride) - x0, int64_t{0}, count);
  const int64_t outside = std::clamp(ceil_div(r.size[2] - offset, stride) - x0, inside, count);
  std::fill(pointers, pointers + inside, r.border);
  const int64_t step = stride * r.pixel_bytes;
  const uint8_t* pixel = line + ((x0 + inside) * stride + offset) * r.pixel_bytes;
  for (int64_t i = inside; i < outside; ++i, pixel += step) pointers[i] = pixel;
  std::fill(pointers + outside, pointers + count, r.border);
}

}  // namespace

void find_conv_rows(const void* context, int64_t first, int64_t count, int64_t stride,
                    const uint8_t** pointers, int64_t* dst_rows) {
  const ConvRows& r = *static_cast<const ConvRows*>(context);
  for (int64_t done = 0; done < count;) {
    const int64_t row = first + done;
    const int64_t x = row % r.count[2];
    const int64_t y = row / r.count[2] % r.count[1];
    const int64_t z = row / (r.count[2] * r.count[1]) % r.count[0];
    const int64_t b = row / (r.count[2] * r.count[1] * r.count[0]);
    const int64_t run = std::min(count - done, r.count[2] - x);

    const uint8_t** to = pointers + done;
    for (int64_t tz = 0; tz < r.taps[0]; ++tz) {
      const int64_t iz = z * r.stride[0] + r.offset[0][tz];
      for (int64_t ty = 0; ty < r.taps[1]; ++ty) {
        const int64_t iy = y * r.stride[1] + r.offset[1][ty];
        const bool inside = iz >= 0 && iz < r.size[0] && iy >= 0 && iy < r.size[1];
        const int64_t line = ((b * r.size[0] + iz) * r.size[1] + iy) * r.size[2];
        for (int64_t tx = 0; tx < r.taps[2]; ++tx, to += stride) {
          if (inside) {
            fill_run(r, r.src + line * r.pixel_bytes, x, run, r.offset[2][tx], to);
          } else {
            std::fill(to, to + run, r.border);
          }
        }
      }
    }

    const int64_t oz = r.out_start[0] + z * r.out_step[0];
    const int64_t oy = r.out_start[1] + y * r.out_step[1];
    const int64_t line =
        (((r.first_batch + b) * r.out_size[0] + oz) * r.out_size[1] + oy) * r.out_size[2];
    for (int64_t i = 0; i < run; ++i) {
      dst_rows[done + i] = line + r.out_start[2] + (x + i) * r.out_step[2];
    }
    done += run;
  }
}

}  // namespace ipex_quant::kernels
