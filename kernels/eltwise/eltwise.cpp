// Chooses the elementwise kernel for the CPU features and splits the work over threads.
#include "kernels/eltwise/eltwise.h"

#include <algorithm>

#include "kernels/select.h"

namespace ipex_quant::kernels {
namespace {

// Work below this many elements is not worth waking a thread. A multiple of every block size, so
// that only the last part has a tail.
constexpr int64_t kGrain = 32768;

template <class Args, class Kernel>
void run_ranges(const Args& args, const Parallel& parallel, const Kernel& kernel) {
  const int64_t parts = (args.n + kGrain - 1) / kGrain;
  parallel(parts, 1, [&](int64_t begin, int64_t end) {
    Args part = args;
    part.src += begin * kGrain;
    part.dst += begin * kGrain;
    part.n = std::min(args.n, end * kGrain) - begin * kGrain;
    kernel(part);
  });
}

}  // namespace

void quantize(const QuantizeArgs& args, Features features, const Parallel& parallel) {
  run_ranges(args, parallel, select_kernel<QuantizeArgs>(features));
}

void dequantize(const DequantizeArgs& args, Features features, const Parallel& parallel) {
  run_ranges(args, parallel, select_kernel<DequantizeArgs>(features));
}

void lut(const LutArgs& args, Features features, const Parallel& parallel) {
  const auto copy = select_kernel<CopyRowsArgs>(features);
  run_ranges(args, parallel,
             [&](const LutArgs& part) { copy({part.src, 0, part.dst, 0, 1, part.n, part.table}); });
}

void quantize_planes(const QuantizePlanesArgs& args, int64_t images, Features features,
                     const Parallel& parallel) {
  if (args.channels <= 0 || args.pixels <= 0) return;
  const auto kernel = select_kernel<QuantizePlanesArgs>(features);
  // Parts of one image, each a multiple of the 64 pixels that a kernel converts at once.
  const int64_t part_pixels = std::max<int64_t>(kGrain / args.channels / 64, 1) * 64;
  const int64_t parts = (args.pixels + part_pixels - 1) / part_pixels;
  parallel(images * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / parts;
      const int64_t pixel = i % parts * part_pixels;
      QuantizePlanesArgs part = args;
      part.src += image * args.channels * args.plane + pixel;
      part.dst += (image * args.pixels + pixel) * args.channels;
      part.pixels = std::min(part_pixels, args.pixels - pixel);
      kernel(part);
    }
  });
}

void copy_rows(const CopyRowsArgs& args, Features features, const Parallel& parallel) {
  if (args.cols <= 0) return;
  const auto kernel = select_kernel<CopyRowsArgs>(features);
  parallel(args.rows, std::max<int64_t>(kGrain / args.cols, 1), [&](int64_t begin, int64_t end) {
    CopyRowsArgs part = args;
    part.src += begin * args.src_stride;
    part.dst += begin * args.dst_stride;
    part.rows = end - begin;
    kernel(part);
  });
}

void requantize_table(float scale, int32_t zero_point, float out_inv_scale, int32_t out_zero_point,
                      Features features, uint8_t* table) {
  uint8_t all[256];
  float values[256];
  for (int i = 0; i < 256; ++i) all[i] = static_cast<uint8_t>(i);
  select_kernel<DequantizeArgs>(features)({all, values, 256, scale, zero_point});
  select_kernel<QuantizeArgs>(features)({values, table, 256, out_inv_scale, out_zero_point});
}

}  // namespace ipex_quant::kernels
