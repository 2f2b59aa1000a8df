// Copies an image with its border.
#include "kernels/conv/stage.h"

#include <algorithm>
#include <cstring>

namespace ipex_quant::kernels {
namespace {

/// Pixels of one image line, channels of each group padded.
void copy_pixels(const Stage& stage, const ConvGeometry& g, const uint8_t* src, int64_t pixels,
                 uint8_t* dst) {
  const int64_t channels = g.in_per_group();
  if (stage.group_bytes == channels) {
    std::memcpy(dst, src, static_cast<size_t>(pixels * g.in_channels));
    return;
  }
  for (int64_t i = 0; i < pixels * g.groups; ++i) {
    int64_t c = 0;
    for (; c < channels; ++c) dst[c] = src[c];
    for (; c < stage.group_bytes; ++c) dst[c] = 0;  // meets zero weights
    src += channels;
    dst += stage.group_bytes;
  }
}

}  // namespace

Stage make_stage(const ConvWeight& weight, const ConvPhase& phase, const int64_t (&count)[kAxes]) {
  const ConvGeometry& g = weight.geometry;
  Stage stage;
  for (int a = 0; a < kAxes; ++a) {
    int64_t low = 0;
    int64_t high = 0;
    if (!phase.offset[a].empty()) {
      const auto [first, last] =
          std::minmax_element(phase.offset[a].begin(), phase.offset[a].end());
      low = *first;
      high = *last;
    }
    stage.first[a] = low;
    stage.size[a] = (count[a] - 1) * phase.stride[a] + high - low + 1;
  }
  const int64_t channels = g.in_per_group();
  stage.group_bytes = weight.mode == ConvMode::kMerged
                          ? channels
                          : (channels + kGemmDepth - 1) / kGemmDepth * kGemmDepth;
  stage.pixel_bytes = g.groups * stage.group_bytes;
  return stage;
}

void fill_stage(const Stage& stage, const ConvGeometry& g, const uint8_t* src,
                const int64_t (&in_size)[kAxes], uint8_t zero_point, uint8_t* dst,
                const Parallel& parallel) {
  const int64_t line_bytes = stage.size[2] * stage.pixel_bytes;
  const int64_t left = std::clamp(-stage.first[2], int64_t{0}, stage.size[2]);
  const int64_t right = std::clamp(in_size[2] - stage.first[2], left, stage.size[2]);
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(line_bytes, 1));
  parallel(stage.size[0] * stage.size[1], grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t z = stage.first[0] + i / stage.size[1];
      const int64_t y = stage.first[1] + i % stage.size[1];
      uint8_t* line = dst + i * line_bytes;
      if (z < 0 || z >= in_size[0] || y < 0 || y >= in_size[1] || left == right) {
        std::memset(line, zero_point, static_cast<size_t>(line_bytes));
        continue;
      }
      std::memset(line, zero_point, static_cast<size_t>(left * stage.pixel_bytes));
      const int64_t pixel = (z * in_size[1] + y) * in_size[2] + stage.first[2] + left;
      copy_pixels(stage, g, src + pixel * g.in_channels, right - left,
                  line + left * stage.pixel_bytes);
      std::memset(line + right * stage.pixel_bytes, zero_point,
                  static_cast<size_t>((stage.size[2] - right) * stage.pixel_bytes));
    }
  });
}

}  // namespace ipex_quant::kernels
