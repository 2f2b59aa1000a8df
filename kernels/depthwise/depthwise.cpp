// Packs depthwise weights; cuts a call into chunks of channels and bands of rows.
#include "kernels/depthwise/depthwise.h"

#include <algorithm>

#include "kernels/depthwise/block.h"

namespace ipex_quant::kernels {
namespace {

/// Output rows of a block, so that its input lines stay in L2 while all channels pass.
constexpr int64_t kBand = 8;
/// Multiplications below which another thread is not worth waking.
constexpr int64_t kThreadWork = 1 << 15;

/// What a thread keeps from call to call, so that the steady state does not allocate.
struct Scratch {
  std::vector<const uint8_t*> lines;
  std::vector<int64_t> line_step;
  AlignedVector<uint8_t> workspace;
};

/// Input lines of output rows first <= row < first + count, counted through batch, depth and
/// height.
void find_lines(const DepthwiseCall& call, int64_t first, int64_t count, int64_t group_rows,
                Scratch& scratch) {
  const int64_t channels = call.weight->channels;
  scratch.lines.assign(static_cast<size_t>(count * group_rows), call.zero_row);
  scratch.line_step.assign(static_cast<size_t>(count * group_rows), 0);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = first + i;
    const int64_t y = row % call.out_size[1];
    const int64_t z = row / call.out_size[1] % call.out_size[0];
    const int64_t b = row / (call.out_size[1] * call.out_size[0]);
    for (int64_t t = 0; t < call.weight->rows; ++t) {
      const int64_t iz =
          z * call.stride[0] + t / call.kernel_height * call.dilation[0] - call.pad[0];
      const int64_t iy =
          y * call.stride[1] + t % call.kernel_height * call.dilation[1] - call.pad[1];
      if (iz < 0 || iz >= call.in_size[0] || iy < 0 || iy >= call.in_size[1]) continue;
      const int64_t line = (b * call.in_size[0] + iz) * call.in_size[1] + iy;
      const auto at = static_cast<size_t>(i * group_rows + t);
      scratch.lines[at] = call.src + line * call.in_size[2] * channels;
      scratch.line_step[at] = channels;
    }
  }
}

}  // namespace

const DepthwiseEntry& select_depthwise(Features features) {
#define IQ_DEPTHWISE(name, needs, chunk) {#name, name, needs, chunk},
  static constexpr DepthwiseEntry kTable[] = {
#include "kernels/depthwise/table.inc"
  };
#undef IQ_DEPTHWISE
  const DepthwiseEntry* entry = kTable;
  while (!covers(features, entry->needs)) ++entry;  // the last one needs nothing
  return *entry;
}

DepthwiseWeight pack_depthwise_weight(const int8_t* weight, int64_t channels, int64_t rows,
                                      int64_t columns) {
  DepthwiseWeight packed;
  packed.channels = channels;
  packed.rows = rows;
  packed.columns = columns;
  const int64_t padded = packed.padded();
  packed.data.assign(static_cast<size_t>(packed.row_groups() * columns * padded * 4), 0);
  packed.sums.assign(static_cast<size_t>(padded), 0);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t x = 0; x < columns; ++x) {
        const int8_t w = weight[(c * rows + r) * columns + x];
        packed.data[static_cast<size_t>(((r / 4 * columns + x) * padded + c) * 4 + r % 4)] = w;
        packed.sums[static_cast<size_t>(c)] += w;
      }
    }
  }
  return packed;
}

void depthwise(const DepthwiseCall& call, Features features, const Parallel& parallel) {
  const DepthwiseWeight& w = *call.weight;
  const DepthwiseEntry& kernel = select_depthwise(features);
  const int64_t rows = call.batch * call.out_size[0] * call.out_size[1];
  const int64_t chunks = (w.channels + kernel.chunk - 1) / kernel.chunk;
  const int64_t wanted = std::max<int64_t>(1, 4 * parallel.threads / chunks);
  const int64_t band = std::clamp<int64_t>(rows / wanted, 1, kBand);
  const int64_t bands = (rows + band - 1) / band;
  const int64_t span = (w.columns - 1) * call.dilation[2] + 1;
  const int64_t group_rows = 4 * w.row_groups();
  const int64_t block_work = band * call.out_size[2] * kernel.chunk * w.rows * w.columns;
  const int64_t grain = std::max<int64_t>(1, kThreadWork / block_work);
  parallel(bands * chunks, grain, [&](int64_t begin, int64_t end) {
    thread_local Scratch scratch;
    const auto bytes =
        static_cast<size_t>(depthwise_workspace(kernel.chunk, w.row_groups(), w.columns, span));
    if (scratch.workspace.size() < bytes) scratch.workspace.resize(bytes);
    std::vector<const uint8_t*>& lines = scratch.lines;
    int64_t filled = -1;
    int64_t shift = 0;  // channel that `lines` point at
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i / chunks * band;
      const int64_t channel = i % chunks * kernel.chunk;
      DepthwiseBlock block;
      block.out_rows = std::min(band, rows - first);
      if (i / chunks != filled) {
        find_lines(call, first, block.out_rows, group_rows, scratch);
        filled = i / chunks;
        shift = 0;
      }
      for (const uint8_t*& line : lines) line += channel - shift;
      shift = channel;
      block.lines = lines.data();
      block.line_step = scratch.line_step.data();
      block.row_groups = w.row_groups();
      block.columns = w.columns;
      block.width = call.in_size[2];
      block.out_width = call.out_size[2];
      block.stride = call.stride[2];
      block.dilation = call.dilation[2];
      block.pad = call.pad[2];
      block.zero_point = *call.zero_row;
      block.channels = std::min(kernel.chunk, w.channels - channel);
      block.weight = w.data.data() + channel * 4;
      block.weight_step = w.padded() * 4;
      block.start = call.start + channel;
      block.scale = call.scale + channel;
      block.bias = call.bias + channel;
      block.epilogue = &call.epilogue;
      block.dst = call.dst;
      block.dst_stride = w.channels;
      block.dst_row = first * call.out_size[2];
      block.col = channel;
      block.workspace = scratch.workspace.data();
      kernel.run(block);
    }
  });
}

}  // namespace ipex_quant::kernels
