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

/// True when the positions of a window follow each other in memory.
bool is_run(const PoolArgs& args, const PoolWindow& w0, const PoolWindow& w1,
            const PoolWindow& w2) {
  const int64_t n0 = w0.end - w0.begin, n1 = w1.end - w1.begin, n2 = w2.end - w2.begin;
  return (w2.step == 1 || n2 == 1) && (n1 == 1 || (w1.step == 1 && n2 == args.in[2])) &&
         (n0 == 1 || (w0.step == 1 && n1 == args.in[1] && n2 == args.in[2]));
}

/// Input pixels of one output pixel.
struct Taps {
  const uint8_t* const* pointers;  ///< null for a run
  const uint8_t* first;
  int64_t count;
  int64_t divisor;  ///< product of the windows' counts
  int64_t pixels;   ///< output pixels in a row whose taps lie alike
  int64_t step;     ///< bytes from the taps of one to those of the next
};

/// How many windows from `first` on, before `end`, are the first one moved on in even steps.
int64_t alike(const std::vector<PoolWindow>& windows, int64_t first, int64_t end) {
  const PoolWindow* w = windows.data() + first;
  int64_t n = 1;
  for (; first + n < end; ++n) {
    const int64_t moved = n * (w[1].begin - w[0].begin);
    if (w[n].begin != w[0].begin + moved || w[n].end != w[0].end + moved ||
        w[n].step != w[0].step || w[n].count != w[0].count) {
      break;
    }
  }
  return n;
}

/// Calls finish(taps, dst) for all output pixels, in parallel over the pixels. A run of adjacent
/// pixels gets no pointers when kRuns is true: a global pooling would only fill tables.
template <bool kRuns, class F>
void for_pixels(const PoolArgs& args, const Parallel& parallel, const F& finish) {
  const int64_t out0 = static_cast<int64_t>(args.windows[0].size());
  const int64_t out1 = static_cast<int64_t>(args.windows[1].size());
  const int64_t out2 = static_cast<int64_t>(args.windows[2].size());
  const int64_t per_image = out0 * out1 * out2;
  const int64_t most_taps =
      largest(args.windows[0]) * largest(args.windows[1]) * largest(args.windows[2]);
  // A thread is worth waking for some 32 KiB of input.
  const int64_t grain =
      std::max<int64_t>(32768 / std::max<int64_t>(most_taps * args.channels, 1), 1);
  parallel(args.images * per_image, grain, [&](int64_t begin, int64_t end) {
    std::vector<const uint8_t*> taps(static_cast<size_t>(most_taps));
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
      const int64_t pixels = alike(args.windows[2], o2, std::min(out2, o2 + end - i));
      const int64_t step =
          pixels > 1 ? args.windows[2][static_cast<size_t>(o2) + 1].begin - w2.begin : 0;
      uint8_t* dst = args.dst + i * args.channels;
      i += pixels;
      o2 += pixels;
      if (o2 == out2) {
        o2 = 0;
        if (++o1 == out1) {
          o1 = 0;
          if (++o0 == out0) {
            o0 = 0;
            ++image_index;
          }
        }
      }
      Taps found{taps.data(),         nullptr, 0, w0.count * w1.count * w2.count, pixels,
                 step * args.channels};
      if (kRuns && is_run(args, w0, w1, w2)) {
        found.pointers = nullptr;
        found.first =
            image + ((w0.begin * args.in[1] + w1.begin) * args.in[2] + w2.begin) * args.channels;
        found.count = positions(w0) * positions(w1) * positions(w2);
        finish(found, dst);
        continue;
      }
      for (int64_t x0 = w0.begin; x0 < w0.end; x0 += w0.step) {
        for (int64_t x1 = w1.begin; x1 < w1.end; x1 += w1.step) {
          const uint8_t* row = image + (x0 * args.in[1] + x1) * args.in[2] * args.channels;
          for (int64_t x2 = w2.begin; x2 < w2.end; x2 += w2.step) {
            taps[static_cast<size_t>(found.count++)] = row + x2 * args.channels;
          }
        }
      }
      finish(found, dst);
    }
  });
}

}  // namespace

void max_pool(const PoolArgs& args, Features features, const Parallel& parallel) {
  const auto kernel = select_kernel<MaxPixelArgs>(features);
  for_pixels<false>(args, parallel, [&](const Taps& taps, uint8_t* dst) {
    kernel({taps.pointers, taps.count, args.channels, dst, taps.pixels, taps.step});
  });
}

void avg_pool(const PoolArgs& args, const AverageArgs& average, Features features,
              const Parallel& parallel) {
  const auto kernel = select_kernel<AveragePixelArgs>(features);
  for_pixels<true>(args, parallel, [&](const Taps& taps, uint8_t* dst) {
    const int64_t divisor = average.divisor != 0 ? average.divisor : taps.divisor;
    kernel({taps.pointers, taps.first, taps.count, args.channels, dst, taps.pixels, taps.step,
            static_cast<int32_t>(taps.count) * average.zero_point,
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
      kernel({nullptr, nullptr, 0, 1, dst + row, 1, 0, offset - sum, factor, average.out_inv_scale,
              average.out_zero_point});
    }
  });
}

}  // namespace ipex_quant::kernels
