// Runs the micro-kernels of group norm: the means, the variances, the results.
#include "kernels/norm/group_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/select.h"

namespace ipex_quant::kernels {
namespace {

/// The statistics of one call, per item and channel.
class Statistics {
 public:
  Statistics(const GroupNormArgs& args, Features features, const Parallel& parallel)
      : args_(args), sums_kernel_(select_kernel<ColumnSumsArgs>(features)), parallel_(parallel),
        blocks_((args.pixels + kPixelsPerSum - 1) / kPixelsPerSum),
        sums_(static_cast<size_t>(args.items * blocks_ * args.channels)),
        mean_(static_cast<size_t>(args.items * args.channels)), factor_(mean_.size()) {
    sum(nullptr);
    reduce([](double average) { return static_cast<float>(average); }, mean_);
    sum(mean_.data());
    reduce(
        [&](double average) { return 1.0f / std::sqrt(static_cast<float>(average) + args_.eps); },
        factor_);
  }

  const float* mean(int64_t item) const { return mean_.data() + item * args_.channels; }
  const float* factor(int64_t item) const { return factor_.data() + item * args_.channels; }

 private:
  void sum(const float* mean) {
    const int64_t channels = args_.channels;
    parallel_(args_.items * blocks_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t item = i / blocks_;
        const int64_t pixel = i % blocks_ * kPixelsPerSum;
        sums_kernel_({args_.src + (item * args_.pixels + pixel) * channels,
                      mean == nullptr ? nullptr : mean + item * channels,
                      sums_.data() + i * channels, std::min(kPixelsPerSum, args_.pixels - pixel),
                      channels});
      }
    });
  }

  /// out = finish(average of a group) for each of its channels.
  template <class Finish>
  void reduce(const Finish& finish, std::vector<float>& out) const {
    const int64_t channels = args_.channels;
    const int64_t width = channels / args_.groups;
    const double count = static_cast<double>(width) * static_cast<double>(args_.pixels);
    for (int64_t item = 0; item < args_.items; ++item) {
      for (int64_t first = 0; first < channels; first += width) {
        double total = 0;
        for (int64_t block = 0; block < blocks_; ++block) {
          const float* sums = sums_.data() + (item * blocks_ + block) * channels + first;
          for (int64_t c = 0; c < width; ++c) total += static_cast<double>(sums[c]);
        }
        std::fill_n(out.data() + item * channels + first, width, finish(total / count));
      }
    }
  }

  const GroupNormArgs& args_;
  void (*sums_kernel_)(const ColumnSumsArgs&);
  const Parallel& parallel_;
  int64_t blocks_;
  std::vector<float> sums_;  ///< [item][block][channel]
  std::vector<float> mean_;
  std::vector<float> factor_;
};

}  // namespace

void group_norm(const GroupNormArgs& args, Features features, const Parallel& parallel) {
  if (args.items <= 0 || args.pixels <= 0 || args.channels <= 0) return;
  const Statistics statistics(args, features, parallel);
  const auto kernel = select_kernel<ChannelNormArgs>(features);
  const int64_t bytes = args.epilogue.chain.quantize ? 1 : sizeof(float);
  const int64_t grain = std::max<int64_t>(8192 / args.channels, 1);
  parallel(args.items * args.pixels, grain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t item = begin / args.pixels;
      const int64_t stop = std::min(end, (item + 1) * args.pixels);
      const int64_t at = begin * args.channels;
      kernel({args.src + at, statistics.mean(item), statistics.factor(item), args.weight, args.bias,
              stop - begin, args.channels, &args.epilogue,
              static_cast<char*>(args.dst) + at * bytes});
      begin = stop;
    }
  });
}

}  // namespace ipex_quant::kernels
