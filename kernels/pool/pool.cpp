// Walks the windows of a pooling and hands each to the pixel kernel of the ISA.
#include "kernels/pool/pool.h"

#include <algorithm>

#include "kernels/pool/pixel.h"
#include "kernels/select.h"

namespace ipex_quant::kernels {
namespace {

int64_t positions(const PoolWindow& window) {
  return std::max<int64_t>((window.end - window.begin + window.step - 1) / window.step, 0);
}

int64_t largest(const std::vector<PoolWindow>& windows) {
  int64_t most = 0;
  for (const PoolWindow& window : windows) most = std::max(most, positions(window));
  return most;
}

/// For each window how many from it on, itself included, lie alike: moved on in even steps.
std::vector<int64_t> count_alike(const std::vector<PoolWindow>& windows) {
  std::vector<int64_t> alike(windows.size(), 1);
  for (size_t next = windows.size(); next-- > 1;) {
    const PoolWindow* w = windows.data() + next - 1;
    const int64_t step = w[1].begin - w[0].begin;
    const bool same =
        w[1].end == w[0].end + step && w[1].step == w[0].step && w[1].count == w[0].count;
    if (!same) continue;
    const bool goes_on = alike[next] > 1 && w[2].begin == w[1].begin + step;
    alike[next - 1] = goes_on ? alike[next] + 1 : 2;
  }
  return alike;
}

/// Calls finish(taps, divisor) for all output pixels, in parallel over the pixels; divisor is the
/// product of the windows' counts.
template <class F>
void for_pixels(const PoolArgs& args, const Parallel& parallel, const F& finish) {
  const int64_t out0 = static_cast<int64_t>(args.windows[0].size());
  const int64_t out1 = static_cast<int64_t>(args.windows[1].size());
  const int64_t out2 = static_cast<int64_t>(args.windows[2].size());
  const int64_t per_image = out0 * out1 * out2;
  const int64_t most_rows = largest(args.windows[0]) * largest(args.windows[1]);
  const int64_t most_bytes = most_rows * largest(args.windows[2]) * args.channels;
  const std::vector<int64_t> alike = count_alike(args.windows[2]);
  // A thread is worth waking for some 32 KiB of input.
  const int64_t grain = std::max<int64_t>(32768 / std::max<int64_t>(most_bytes, 1), 1);
  parallel(args.images * per_image, grain, [&](int64_t begin, int64_t end) {
    std::vector<const uint8_t*> rows(static_cast<size_t>(most_rows));
    // Position of pixel `begin`; stepped along, for divisions cost as much as a window.
    int64_t image_index = begin / per_image;
    int64_t o0 = begin % per_image / (out1 * out2);
    int64_t o1 = begin / out2 % out1;
    int64_t o2 = begin % out2;
    for (int64_t i = begin; i < end;) {
      const PoolWindow& w0 = args.windows[0][static_cast<size_t>(o0)];
      const PoolWindow& w1 = args.windows[1][static_cast<size_t>(o1)];
      const PoolWindow& w2 = args.windows[2][static_cast<size_t>(o2)];
      const uint8_t* image =
          args.src + image_index * args.in[0] * args.in[1] * args.in[2] * args.channels;
      const int64_t pixels = std::min(alike[static_cast<size_t>(o2)], end - i);
      const int64_t step =
          pixels > 1 ? args.windows[2][static_cast<size_t>(o2) + 1].begin - w2.begin : 0;
      PixelTaps taps{rows.data(),   0,
                     positions(w2), w2.step * args.channels,
                     args.channels, args.dst + i * args.channels,
                     pixels,        step * args.channels};
      // Whole rows of the image that follow each other are one row of taps.
      const bool whole = taps.columns == args.in[2] && w2.step == 1 && w1.step == 1;
      const int64_t joined = whole ? positions(w1) : 1;
      taps.columns *= joined;
      for (int64_t x0 = w0.begin; x0 < w0.end; x0 += w0.step) {
        for (int64_t x1 = w1.begin; x1 < w1.end; x1 += w1.step * joined) {
          rows[static_cast<size_t>(taps.row_count++)] =
              image + ((x0 * args.in[1] + x1) * args.in[2] + w2.begin) * args.channels;
        }
      }
      finish(taps, w0.count * w1.count * w2.count);
      i += pixels;
      o2 += pixels;
      if (o2 < out2) continue;
      o2 = 0;
      if (++o1 < out1) continue;
      o1 = 0;
      if (++o0 < out0) continue;
      o0 = 0;
      ++image_index;
    }
  });
}

}  // namespace

void max_pool(const PoolArgs& args, Features features, const Parallel& parallel) {
  const auto kernel = select_kernel<MaxPixelArgs>(features);
  for_pixels(args, parallel, [&](const PixelTaps& taps, int64_t) { kernel({taps}); });
}

void avg_pool(const PoolArgs& args, const AverageArgs& average, Features features,
              const Parallel& parallel) {
  const auto kernel = select_kernel<AveragePixelArgs>(features);
  for_pixels(args, parallel, [&](const PixelTaps& taps, int64_t window) {
    const int64_t divisor = average.divisor != 0 ? average.divisor : window;
    const int64_t count = taps.row_count * taps.columns;
    kernel({taps, static_cast<int32_t>(count) * average.zero_point,
            average.scale / static_cast<float>(divisor), average.out_inv_scale,
            average.out_zero_point});
  });
}

void average_rows(const uint8_t* src, int64_t rows, int64_t cols, const AverageArgs& average,
                  uint8_t* dst, Features features, const Parallel& parallel) {
  const auto kernel = select_kernel<AveragePixelArgs>(features);
  const int64_t divisor = average.divisor != 0 ? average.divisor : cols;
  const float factor = average.scale / static_cast<float>(divisor);
  const int32_t offset = static_cast<int32_t>(cols) * average.zero_point;
  const int64_t grain = std::max<int64_t>(32768 / std::max<int64_t>(cols, 1), 1);
  parallel(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int32_t sum = 0;
      for (int64_t i = 0; i < cols; ++i) sum += src[row * cols + i];
      // A pixel without taps: the kernel only quantizes.
      kernel({{nullptr, 0, 0, 0, 1, dst + row, 1, 0},
              offset - sum,
              factor,
              average.out_inv_scale,
              average.out_zero_point});
    }
  });
}

}  // namespace ipex_quant::kernels
