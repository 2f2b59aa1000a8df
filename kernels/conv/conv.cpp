// Runs a convolution as products: one per phase, over all pixels of all images.
#include "kernels/conv/conv.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/conv/rows.h"
#include "kernels/conv/stage.h"
#include "kernels/conv/wide.h"

namespace ipex_quant::kernels {
namespace {

/// Which pixels of a phase a call computes.
struct PhasePart {
  int64_t count[kAxes];  ///< output pixels, or groups of them
  int64_t skip = 0;      ///< of those along the width

  bool empty() const { return count[0] * count[1] * count[2] == 0; }
};

/// \param wide  output columns of the wide phases
PhasePart part_of(const ConvPhase& phase, const int64_t (&out_size)[kAxes], int64_t wide) {
  PhasePart part;
  for (int a = 0; a < kAxes; ++a) {
    const int64_t left = out_size[a] - phase.out_start[a];
    part.count[a] = left <= 0 ? 0 : (left + phase.out_step[a] - 1) / phase.out_step[a];
  }
  if (phase.together > 1) {
    part.count[2] = wide / phase.together;
  } else {
    part.skip = wide / phase.out_step[2];
    part.count[2] = std::max<int64_t>(part.count[2] - part.skip, 0);
  }
  return part;
}

/// Every output pixel reads the input pixel at its own place: a plain matrix product.
bool is_pointwise(const ConvCall& call) {
  const ConvGeometry& g = call.weight->geometry;
  if (g.transposed || g.taps() != 1) return false;
  for (int a = 0; a < kAxes; ++a) {
    if (g.stride[a] != 1 || g.pad_begin[a] != 0 || g.pad_end[a] != 0) return false;
  }
  return true;
}

GemmProblem make_problem(const ConvCall& call, size_t phase) {
  const ConvGeometry& g = call.weight->geometry;
  GemmProblem p;
  p.weight = &call.weight->phases[phase].weight;
  p.start = call.channels->start[phase].data();
  p.scale = call.channels->scale.data();
  p.bias = call.channels->bias.data();
  p.epilogue = call.epilogue;
  p.dst = call.dst;
  p.dst_stride = g.out_channels;
  p.group_offset = g.in_per_group();
  return p;
}

void run_direct(const ConvCall& call, size_t index, const PhasePart& part, Features features,
                const Parallel& parallel) {
  const ConvPhase& phase = call.weight->phases[index];
  GemmProblem p = make_problem(call, index);
  p.m = call.batch * part.count[0] * part.count[1] * part.count[2];
  if (is_pointwise(call)) {
    const PlainRows rows{call.src, call.pixel_bytes};
    p.rows = plain_rows(rows);
    return gemm(p, features, parallel);
  }
  ConvRows rows;
  rows.src = call.src;
  rows.pixel_bytes = call.pixel_bytes;
  rows.border = call.channels->zero_row.data();
  rows.first_batch = 0;
  for (int a = 0; a < kAxes; ++a) {
    rows.size[a] = call.in_size[a];
    rows.count[a] = part.count[a];
    rows.stride[a] = phase.stride[a];
    rows.offset[a] = phase.offset[a].data();
    rows.taps[a] = static_cast<int64_t>(phase.offset[a].size());
    rows.out_start[a] = phase.out_start[a];
    rows.out_step[a] = phase.out_step[a];
    rows.out_size[a] = call.out_size[a];
  }
  std::vector<int64_t> width_offset = phase.offset[2];
  for (int64_t& o : width_offset) o += part.skip * phase.stride[2];
  rows.offset[2] = width_offset.data();
  rows.out_start[2] += part.skip * phase.out_step[2];
  p.rows = {&rows, find_conv_rows};
  gemm(p, features, parallel);
}

void run_staged(const ConvCall& call, size_t index, const int64_t (&count)[kAxes],
                Features features, const Parallel& parallel) {
  const ConvGeometry& g = call.weight->geometry;
  const ConvPhase& phase = call.weight->phases[index];
  const bool merged = call.weight->mode == ConvMode::kMerged;
  const Stage stage = make_stage(*call.weight, phase, count);
  // Offsets within the copy; of a merged kernel row only the first byte counts.
  std::vector<int64_t> offset[kAxes];
  ConvRows rows;
  rows.src = call.scratch;
  rows.pixel_bytes = stage.pixel_bytes;
  rows.border = nullptr;  // no tap leaves the copy
  for (int a = 0; a < kAxes; ++a) {
    for (const int64_t o : phase.offset[a]) offset[a].push_back(o - stage.first[a]);
    if (merged && a == 2) offset[a].resize(1);
    rows.size[a] = stage.size[a];
    rows.count[a] = count[a];
    rows.stride[a] = phase.stride[a];
    rows.offset[a] = offset[a].data();
    rows.taps[a] = static_cast<int64_t>(offset[a].size());
    rows.out_start[a] = phase.out_start[a];
    rows.out_step[a] = phase.out_step[a];
    rows.out_size[a] = call.out_size[a];
  }
  GemmProblem p = make_problem(call, index);
  p.group_offset = stage.group_bytes;
  p.m = count[0] * count[1] * count[2];
  p.rows = {&rows, find_conv_rows};
  const int64_t image_bytes = call.in_size[0] * call.in_size[1] * call.in_size[2] * g.in_channels;
  for (int64_t b = 0; b < call.batch; ++b) {
    fill_stage(stage, g, call.src + b * image_bytes, call.in_size,
               static_cast<uint8_t>(call.channels->zero_point), call.scratch, parallel);
    rows.first_batch = b;
    gemm(p, features, parallel);
  }
}

/// Bytes of a copy of all images in which every channel stands once per output channel that reads
/// it.
int64_t repeated_bytes(const ConvCall& call) {
  const ConvGeometry& g = call.weight->geometry;
  if (g.out_channels == g.in_channels) return 0;
  return call.batch * call.in_size[0] * call.in_size[1] * call.in_size[2] * g.out_channels;
}

/// Each byte as often as a word has bytes: one multiplication, which compilers vectorize.
template <class Word>
void repeat_in_words(const uint8_t* src, int64_t count, uint8_t* dst) {
  constexpr Word kOnes = std::numeric_limits<Word>::max() / 255;  // 0x01 in each byte
  for (int64_t i = 0; i < count; ++i) {
    const Word word = static_cast<Word>(src[i] * kOnes);
    std::memcpy(dst + i * static_cast<int64_t>(sizeof(Word)), &word, sizeof(Word));
  }
}

const uint8_t* repeat_channels(const ConvCall& call, const Parallel& parallel) {
  const int64_t times = call.weight->geometry.out_per_group();
  const int64_t values = repeated_bytes(call) / times;
  parallel(values, 16384, [&](int64_t begin, int64_t end) {
    const uint8_t* src = call.src + begin;
    uint8_t* dst = call.scratch + begin * times;
    const int64_t count = end - begin;
    if (times == 2) return repeat_in_words<uint16_t>(src, count, dst);
    if (times == 4) return repeat_in_words<uint32_t>(src, count, dst);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t j = 0; j < times; ++j) dst[i * times + j] = src[i];
    }
  });
  return call.scratch;
}

void run_depthwise(const ConvCall& call, Features features, const Parallel& parallel) {
  const ConvGeometry& g = call.weight->geometry;
  DepthwiseCall d;
  d.weight = &call.weight->depthwise;
  d.batch = call.batch;
  for (int a = 0; a < kAxes; ++a) {
    d.in_size[a] = call.in_size[a];
    d.out_size[a] = call.out_size[a];
    d.stride[a] = g.stride[a];
    d.dilation[a] = g.dilation[a];
    d.pad[a] = g.pad_begin[a];
  }
  d.kernel_height = g.kernel[1];
  if (is_signal(g)) {
    // {depth, height, width} becomes {height, width, 1}; the depth counts as batch.
    d.batch = call.batch * call.in_size[0];
    for (int a = 0; a < kAxes; ++a) {
      const bool last = a == kAxes - 1;
      d.in_size[a] = last ? 1 : call.in_size[a + 1];
      d.out_size[a] = last ? 1 : call.out_size[a + 1];
      d.stride[a] = last ? 1 : g.stride[a + 1];
      d.dilation[a] = last ? 1 : g.dilation[a + 1];
      d.pad[a] = last ? 0 : g.pad_begin[a + 1];
    }
    d.kernel_height = g.kernel[2];
  }
  d.src = repeated_bytes(call) ? repeat_channels(call, parallel) : call.src;
  d.zero_row = call.channels->zero_row.data();
  d.start = call.channels->start[0].data();
  d.scale = call.channels->scale.data();
  d.bias = call.channels->bias.data();
  d.epilogue = call.epilogue;
  d.dst = call.dst;
  depthwise(d, features, parallel);
}

}  // namespace

int64_t conv_scratch_bytes(const ConvCall& call) {
  if (call.weight->mode == ConvMode::kDepthwise) return repeated_bytes(call);
  int64_t most = 0;
  if (call.weight->mode == ConvMode::kDirect) return most;
  for (const ConvPhase& phase : call.weight->phases) {
    const PhasePart part = part_of(phase, call.out_size, 0);
    if (!part.empty()) most = std::max(most, make_stage(*call.weight, phase, part.count).bytes());
  }
  return most;
}

void conv(const ConvCall& call, Features features, const Parallel& parallel) {
  if (call.weight->mode == ConvMode::kDepthwise) return run_depthwise(call, features, parallel);
  const int64_t wide = wide_columns(call);
  for (size_t i = 0; i < call.weight->phases.size(); ++i) {
    const PhasePart part = part_of(call.weight->phases[i], call.out_size, wide);
    if (part.empty()) continue;
    if (call.weight->mode == ConvMode::kDirect) {
      run_direct(call, i, part, features, parallel);
    } else {
      run_staged(call, i, part.count, features, parallel);
    }
  }
}

}  // namespace ipex_quant::kernels
