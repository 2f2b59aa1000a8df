// Splits a convolution into phases and packs the weights of each.
#include "kernels/conv/conv.h"
#include "kernels/conv/wide.h"

namespace ipex_quant::kernels {
namespace {

/// Below this many channels a kernel row is one tap: taps of a few bytes would be all overhead.
constexpr int64_t kMergeChannels = 16;

ConvMode choose_mode(const ConvGeometry& g) {
  const int64_t channels = g.in_per_group();
  if (channels == 1 && g.groups > 1 && !g.transposed) return ConvMode::kDepthwise;
  const bool unaligned = channels % kGemmDepth != 0;
  const bool few = channels < kMergeChannels && g.kernel[2] > 1;
  if (g.groups == 1 && g.dilation[2] == 1 && !g.transposed && (unaligned || few)) {
    return ConvMode::kMerged;
  }
  return unaligned ? ConvMode::kPadded : ConvMode::kDirect;
}

/// Which taps of one axis a phase has, and where they read.
struct AxisPhase {
  std::vector<int64_t> taps;
  std::vector<int64_t> offset;
};

AxisPhase plain_axis(const ConvGeometry& g, int axis) {
  AxisPhase phase;
  for (int64_t t = 0; t < g.kernel[axis]; ++t) {
    phase.taps.push_back(t);
    phase.offset.push_back(t * g.dilation[axis] - g.pad_begin[axis]);
  }
  return phase;
}

/// Output o gets input i by tap t where o = i * stride - pad + t * dilation. With o = start + j *
/// stride: i = j + (start + pad - t * dilation) / stride, for the taps where that is whole.
AxisPhase transposed_axis(const ConvGeometry& g, int axis, int64_t start) {
  AxisPhase phase;
  for (int64_t t = 0; t < g.kernel[axis]; ++t) {
    const int64_t distance = start + g.pad_begin[axis] - t * g.dilation[axis];
    if (distance % g.stride[axis] != 0) continue;
    phase.taps.push_back(t);
    phase.offset.push_back(distance / g.stride[axis]);
  }
  return phase;
}

/// Takes groups together as long as their columns fit into one vector: lanes and bytes that would
/// be padding are zero weights instead, and there are fewer and larger products.
ConvGeometry merge_groups(ConvGeometry g) {
  for (const int64_t factor : {2, 3, 5, 7}) {
    while (g.groups % factor == 0 && factor * g.out_per_group() <= kGemmColumns) {
      g.groups /= factor;
    }
  }
  return g;
}

/// Copies the weights of a phase to [group][n][tap][depth] and packs them. `g` has merged groups.
GemmWeight pack_phase(const ConvGeometry& plain_groups, const ConvGeometry& g, ConvMode mode,
                      const int8_t* weight, const AxisPhase (&axes)[kAxes]) {
  const int64_t in = g.in_per_group();
  const int64_t out = g.out_per_group();
  const int64_t plain_in = plain_groups.in_per_group();
  const int64_t plain_out = plain_groups.out_per_group();
  std::vector<int64_t> taps;
  for (const int64_t z : axes[0].taps) {
    for (const int64_t y : axes[1].taps) {
      for (const int64_t x : axes[2].taps) {
        taps.push_back((z * g.kernel[1] + y) * g.kernel[2] + x);
      }
    }
  }
  const int64_t count = static_cast<int64_t>(taps.size());
  std::vector<int8_t> plain(static_cast<size_t>(g.out_channels * count * in));
  int8_t* to = plain.data();
  for (int64_t group = 0; group < g.groups; ++group) {
    for (int64_t n = 0; n < out; ++n) {
      for (const int64_t tap : taps) {
        for (int64_t c = 0; c < in; ++c) {
          const bool joined = c / plain_in == n / plain_out;  // else two groups that were merged
          const int64_t row = g.transposed ? (group * in + c) * plain_out + n % plain_out
                                           : (group * out + n) * plain_in + c % plain_in;
          *to++ = joined ? weight[row * g.taps() + tap] : int8_t{0};
        }
      }
    }
  }
  const int64_t merged = mode == ConvMode::kMerged ? static_cast<int64_t>(axes[2].taps.size()) : 1;
  const int64_t depth = in * merged;
  return pack_gemm_weight(
      {plain.data(), g.groups, out, count / merged, depth, out * count * in, count * in, depth, 1});
}

/// The phase of `plain`, which has the first pixel of each line, for all pixels side by side.
ConvPhase wide_phase(const ConvPhase& plain, const ConvGeometry& g, const int8_t* weight,
                     const AxisPhase (&axes)[kAxes], const WideAxis& wide) {
  ConvPhase phase = plain;
  phase.together = phase.out_step[2] = wide.together;
  phase.stride[2] = wide.stride;
  phase.offset[2] = wide.offset;
  const int64_t in = g.in_channels;
  const int64_t depth_stride = g.taps() * (g.transposed ? g.out_channels : 1);
  const int64_t out_stride = g.taps() * (g.transposed ? 1 : in);
  const int64_t n = wide.together * g.out_channels;
  const int64_t taps =
      static_cast<int64_t>(axes[0].taps.size() * axes[1].taps.size() * wide.offset.size());
  std::vector<int8_t> rows;
  rows.reserve(static_cast<size_t>(n * taps * in));
  for (const std::vector<int64_t>& tap_of : wide.tap) {
    for (int64_t out = 0; out < g.out_channels; ++out) {
      for (const int64_t z : axes[0].taps) {
        for (const int64_t y : axes[1].taps) {
          for (const int64_t x : tap_of) {
            const int64_t at = out * out_stride + (z * g.kernel[1] + y) * g.kernel[2] + x;
            for (int64_t c = 0; c < in; ++c) {
              rows.push_back(x < 0 ? int8_t{0} : weight[at + c * depth_stride]);
            }
          }
        }
      }
    }
  }
  phase.weight = pack_gemm_weight({rows.data(), 1, n, taps, in, n * taps * in, taps * in, in, 1});
  return phase;
}

/// -zero_point * sums, modulo 2^32: only the end value of the sums is sure to fit.
AlignedVector<int32_t> start_values(const AlignedVector<int32_t>& sums, int32_t zero_point) {
  AlignedVector<int32_t> start(sums.size());
  for (size_t i = 0; i < start.size(); ++i) {
    start[i] = static_cast<int32_t>(0u - static_cast<uint32_t>(zero_point) *
                                             static_cast<uint32_t>(sums[i]));
  }
  return start;
}

}  // namespace

int64_t conv_output_size(const ConvGeometry& g, int axis, int64_t size) {
  const int64_t span = g.dilation[axis] * (g.kernel[axis] - 1);
  const int64_t pad = g.pad_begin[axis] + g.pad_end[axis];
  if (g.transposed) return (size - 1) * g.stride[axis] - pad + span + g.output_padding[axis] + 1;
  const int64_t room = size + pad - span - 1;
  return room < 0 ? 0 : room / g.stride[axis] + 1;
}

bool is_signal(const ConvGeometry& g) {
  const bool depth_is_batch =
      g.kernel[0] == 1 && g.stride[0] == 1 && g.pad_begin[0] == 0 && g.pad_end[0] == 0;
  return depth_is_batch && g.kernel[1] == 1 && g.kernel[2] > 1;
}

ConvWeight pack_conv_weight(const ConvGeometry& geometry, const int8_t* weight) {
  ConvGeometry g = geometry;
  ConvWeight packed;
  packed.geometry = g;
  packed.mode = choose_mode(g);
  if (packed.mode == ConvMode::kDepthwise) {
    const bool signal = is_signal(g);
    const int axis = signal ? 2 : 1;  // whose taps lie above each other
    const bool adjacent = g.kernel[0] == 1 && g.dilation[axis] == 1;
    packed.depthwise =
        pack_depthwise_weight(weight, g.out_channels, signal ? g.taps() : g.kernel[0] * g.kernel[1],
                              signal ? 1 : g.kernel[2], adjacent ? g.stride[axis] : 0);
    return packed;
  }
  const ConvGeometry plain_groups = g;
  g = packed.geometry = merge_groups(g);
  packed.mode = choose_mode(g);
  const bool wide = packed.mode == ConvMode::kDirect && plain_groups.groups == 1;
  const WideAxis side_by_side = wide ? choose_wide(g) : WideAxis();
  std::vector<ConvPhase> wide_phases;
  int64_t steps[kAxes];
  for (int a = 0; a < kAxes; ++a) steps[a] = g.transposed ? g.stride[a] : 1;
  for (int64_t z = 0; z < steps[0]; ++z) {
    for (int64_t y = 0; y < steps[1]; ++y) {
      for (int64_t x = 0; x < steps[2]; ++x) {
        const int64_t start[kAxes] = {z, y, x};
        AxisPhase axes[kAxes];
        ConvPhase phase;
        for (int a = 0; a < kAxes; ++a) {
          axes[a] = g.transposed ? transposed_axis(g, a, start[a]) : plain_axis(g, a);
          phase.out_start[a] = start[a];
          phase.out_step[a] = steps[a];
          phase.stride[a] = g.transposed ? 1 : g.stride[a];
          phase.offset[a] = axes[a].offset;
        }
        phase.weight = pack_phase(plain_groups, g, packed.mode, weight, axes);
        if (x == 0 && side_by_side.together > 1) {
          wide_phases.push_back(wide_phase(phase, g, weight, axes, side_by_side));
        }
        packed.phases.push_back(std::move(phase));
      }
    }
  }
  for (ConvPhase& phase : wide_phases) packed.phases.push_back(std::move(phase));
  return packed;
}

ConvChannels make_conv_channels(const ConvWeight& weight, int32_t zero_point, const float* scale,
                                const float* bias) {
  const ConvGeometry& g = weight.geometry;
  // A depthwise kernel takes all channels as one group.
  const bool depthwise = weight.mode == ConvMode::kDepthwise;
  const int64_t n = depthwise ? g.out_channels : g.out_per_group();
  const int64_t unit = depthwise ? kDepthwiseUnit : kGemmColumns;
  const int64_t padded_n = (n + unit - 1) / unit * unit;
  const int64_t groups = depthwise ? 1 : g.groups;
  const int64_t together = weight.phases.empty() ? 1 : weight.phases.back().together;
  ConvChannels c;
  c.zero_point = zero_point;
  c.scale.assign(static_cast<size_t>(groups * padded_n), 0.0f);
  c.bias.assign(static_cast<size_t>(groups * padded_n), 0.0f);
  for (int64_t i = 0; i < g.out_channels; ++i) {
    // Once per pixel of a row: only with one group is there more than one.
    for (int64_t p = 0; p < together; ++p) {
      const size_t at = static_cast<size_t>(i / n * padded_n + i % n + p * n);
      c.scale[at] = scale[i];
      c.bias[at] = bias ? bias[i] : 0.0f;
    }
  }
  if (depthwise) c.start.push_back(start_values(weight.depthwise.sums, zero_point));
  for (const ConvPhase& phase : weight.phases) {
    c.start.push_back(start_values(phase.weight.sums, zero_point));
  }
  c.zero_row.assign(static_cast<size_t>(depthwise ? g.out_channels : g.in_channels),
                    static_cast<uint8_t>(zero_point));
  return c;
}

}  // namespace ipex_quant::kernels
