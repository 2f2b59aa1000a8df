// Decides how many output pixels of a line make one row of a product.
#include "kernels/conv/wide.h"

#include <algorithm>
#include <map>

namespace ipex_quant::kernels {
namespace {

/// Products that a plain row takes for every one of a wide row, at least: a wide row leaves some
/// pixels at the end of a line to plain ones.
constexpr double kGain = 1.3;

/// Input offsets of `together` output pixels, and the taps that read them.
WideAxis make_axis(const ConvGeometry& g, int64_t together) {
  const int64_t step = g.transposed ? g.stride[2] : 1;
  std::map<int64_t, std::vector<int64_t>> taps;  // by offset: tap of each pixel
  for (int64_t p = 0; p < together; ++p) {
    for (int64_t t = 0; t < g.kernel[2]; ++t) {
      // A transposed convolution gives output o input i where o = i * stride - pad + t * dilation.
      const int64_t at = g.transposed ? p + g.pad_begin[2] - t * g.dilation[2]
                                      : p * g.stride[2] + t * g.dilation[2] - g.pad_begin[2];
      if (at % step != 0) continue;
      const auto found =
          taps.emplace(at / step, std::vector<int64_t>(static_cast<size_t>(together), -1)).first;
      found->second[static_cast<size_t>(p)] = t;
    }
  }
  WideAxis axis;
  axis.together = together;
  axis.stride = g.transposed ? together / step : together * g.stride[2];
  axis.tap.resize(static_cast<size_t>(together));
  for (const auto& [offset, tap_of_pixel] : taps) {
    axis.offset.push_back(offset);
    for (size_t p = 0; p < tap_of_pixel.size(); ++p) axis.tap[p].push_back(tap_of_pixel[p]);
  }
  return axis;
}

}  // namespace

WideAxis choose_wide(const ConvGeometry& g) {
  const int64_t step = g.transposed ? g.stride[2] : 1;
  const double plain = static_cast<double>(g.kernel[2]) / static_cast<double>(step);
  WideAxis best;
  double least = plain / kGain;
  for (int64_t together = step; together * g.out_channels <= kGemmColumns; together += step) {
    if (together == 1) continue;
    WideAxis axis = make_axis(g, together);
    const double cost = static_cast<double>(axis.offset.size()) / static_cast<double>(together);
    if (cost < least) {
      least = cost;
      best = std::move(axis);
    }
  }
  return best;
}

int64_t wide_columns(const ConvCall& call) {
  const int64_t together = call.weight->phases.back().together;
  if (together == 1) return 0;
  // An operand is read by row and column as the result is written: only one of the same shape
  // has its pixels side by side, too.
  int tensor = 0;
  for (int i = 0; i < call.epilogue.chain.count; ++i) {
    if (!reads_tensor(call.epilogue.chain.ops[i].kind)) continue;
    const PostOpTensor& operand = call.epilogue.tensors[tensor++];
    if (operand.col_stride != 1 || operand.row_stride != call.weight->geometry.out_channels) {
      return 0;
    }
  }
  return call.out_size[2] / together * together;
}

}  // namespace ipex_quant::kernels
