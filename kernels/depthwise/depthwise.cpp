// Packs depthwise weights; cuts a call into chunks of channels and rows that share lines.
#include "kernels/depthwise/depthwise.h"

#include <algorithm>

#include "kernels/depthwise/block.h"

namespace ipex_quant::kernels {
namespace {

/// Multiplications below which another thread is not worth waking.
constexpr int64_t kThreadWork = 1 << 15;

/// What a thread keeps from call to call, so that the steady state does not allocate.
struct Scratch {
  std::vector<const uint8_t*> lines;
  std::vector<int64_t> line_step;
  AlignedVector<uint8_t> workspace;
};

/// Where the output rows of a share stand.
struct Share {
  int64_t image;  ///< counted through batch and depth
  int64_t y;      ///< first row
  int64_t rows;
};

/// Input lines of a share, at channel 0.
void find_lines(const DepthwiseCall& call, const Share& share, Scratch& scratch) {
  const DepthwiseWeight& w = *call.weight;
  const auto count = static_cast<size_t>(4 * w.row_groups());
  scratch.lines.assign(count, call.zero_row);
  scratch.line_step.assign(count, 0);
  const int64_t z = share.image % call.out_size[0];
  const int64_t b = share.image / call.out_size[0];
  const int64_t used = w.rows + (share.rows - 1) * w.row_stride;
  for (int64_t t = 0; t < used; ++t) {
    // Lines beyond the kernel belong to the next rows of the share: then the depth is 1.
    const int64_t tz = w.share > 1 ? 0 : t / call.kernel_height;
    const int64_t ty = w.share > 1 ? t : t % call.kernel_height;
    const int64_t iz = z * call.stride[0] + tz * call.dilation[0] - call.pad[0];
    const int64_t iy = share.y * call.stride[1] + ty * call.dilation[1] - call.pad[1];
    if (iz < 0 || iz >= call.in_size[0] || iy < 0 || iy >= call.in_size[1]) continue;
    const int64_t line = (b * call.in_size[0] + iz) * call.in_size[1] + iy;
    scratch.lines[static_cast<size_t>(t)] = call.src + line * call.in_size[2] * w.channels;
    scratch.line_step[static_cast<size_t>(t)] = w.channels;
  }
}

/// What all blocks of a call have in common.
DepthwiseBlock make_block(const DepthwiseCall& call) {
  const DepthwiseWeight& w = *call.weight;
  DepthwiseBlock block;
  block.share = w.share;
  block.row_groups = w.row_groups();
  block.columns = w.columns;
  block.width = call.in_size[2];
  block.out_width = call.out_size[2];
  block.stride = call.stride[2];
  block.dilation = call.dilation[2];
  block.pad = call.pad[2];
  block.zero_point = *call.zero_row;
  block.epilogue = &call.epilogue;
  block.dst = call.dst;
  block.dst_stride = w.channels;
  return block;
}

}  // namespace

DepthwiseWeight pack_depthwise_weight(const int8_t* weight, int64_t channels, int64_t rows,
                                      int64_t columns, int64_t row_stride) {
  DepthwiseWeight packed;
  packed.channels = channels;
  packed.rows = rows;
  packed.columns = columns;
  packed.row_stride = row_stride;
  const int64_t spare = 4 * packed.row_groups() - rows;
  if (row_stride > 0) packed.share = 1 + spare / row_stride;
  const int64_t padded = packed.padded();
  const int64_t per_row = packed.row_groups() * columns * kDepthwiseUnit * 4;
  packed.data.assign(static_cast<size_t>(padded / kDepthwiseUnit * packed.share * per_row), 0);
  packed.sums.assign(static_cast<size_t>(padded), 0);
  for (int64_t c = 0; c < channels; ++c) {
    int8_t* unit = packed.data.data() + c / kDepthwiseUnit * packed.share * per_row;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t x = 0; x < columns; ++x) {
        const int8_t w = weight[(c * rows + r) * columns + x];
        packed.sums[static_cast<size_t>(c)] += w;
        for (int64_t row = 0; row < packed.share; ++row) {
          const int64_t line = r + row * row_stride;
          const int64_t vector = line / 4 * columns + x;
          unit[row * per_row + (vector * kDepthwiseUnit + c % kDepthwiseUnit) * 4 + line % 4] = w;
        }
      }
    }
  }
  return packed;
}

void depthwise(const DepthwiseCall& call, Features features, const Parallel& parallel) {
  const DepthwiseWeight& w = *call.weight;
  const DepthwiseEntry& kernel = select_depthwise(features);
  const int64_t shares = (call.out_size[1] + w.share - 1) / w.share;  // of an image
  const int64_t chunks = (w.channels + kDepthwiseChunk - 1) / kDepthwiseChunk;
  const int64_t span = (w.columns - 1) * call.dilation[2] + 1;
  const DepthwiseSegment segment =
      depthwise_segment(w.row_groups(), span, call.stride[2], call.out_size[2]);
  const int64_t unit_bytes = w.share * w.row_groups() * w.columns * kDepthwiseUnit * 4;
  const int64_t work = w.share * call.out_size[2] * kDepthwiseChunk * w.rows * w.columns;
  const int64_t grain = std::max<int64_t>(1, kThreadWork / work);
  parallel(call.batch * call.out_size[0] * shares * chunks, grain, [&](int64_t begin, int64_t end) {
    thread_local Scratch scratch;
    const auto bytes = static_cast<size_t>(depthwise_workspace(w.row_groups(), segment));
    if (scratch.workspace.size() < bytes) scratch.workspace.resize(bytes);
    DepthwiseBlock block = make_block(call);
    block.workspace = scratch.workspace.data();
    int64_t found = -1;
    int64_t shift = 0;  // channel that the lines point at
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i / chunks;
      const int64_t channel = i % chunks * kDepthwiseChunk;
      if (at != found) {
        const int64_t y = at % shares * w.share;
        const Share share{at / shares, y, std::min(w.share, call.out_size[1] - y)};
        find_lines(call, share, scratch);
        found = at;
        shift = 0;
        block.rows = share.rows;
        block.dst_row = (share.image * call.out_size[1] + y) * call.out_size[2];
        block.lines = scratch.lines.data();
        block.line_step = scratch.line_step.data();
      }
      for (const uint8_t*& line : scratch.lines) line += channel - shift;
      shift = channel;
      block.channels = std::min(kDepthwiseChunk, w.channels - channel);
      block.weight = w.data.data() + channel / kDepthwiseUnit * unit_bytes;
      block.start = call.start + channel;
      block.scale = call.scale + channel;
      block.bias = call.bias + channel;
      block.col = channel;
      kernel.run(block);
    }
  });
}

}  // namespace ipex_quant::kernels
