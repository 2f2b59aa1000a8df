// Packs B per batch and runs the u8 x s8 micro-kernel on its blocks.
#include "kernels/matmul/matmul.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <type_traits>

#include "kernels/aligned.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/panel.h"
#include "kernels/gemm/tile.h"
#include "kernels/matmul/steps.h"

namespace ipex_quant::kernels {
namespace {

/// Bytes of rows that stay in L2 while all columns pass over them.
constexpr int64_t kRowBytes = 256 * 1024;
/// Multiplications below which another thread is not worth waking.
constexpr int64_t kThreadWork = 1 << 18;

template <class Args>
auto select_step([[maybe_unused]] Features features) -> void (*)(const Args&) {
#define IQ_MATMUL(op, function, needs)                                                             \
  if constexpr (std::is_same_v<Args, op##Args>) {                                                  \
    if (covers(features, needs)) return function;                                                  \
  }
#include "kernels/matmul/table.inc"
#undef IQ_MATMUL
  return nullptr;  // not reached: the last row of each op needs nothing
}

int64_t round_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

/// Buffers of a thread; they only grow.
struct Scratch {
  AlignedVector<int8_t> weight;  ///< packed B: [block][depth / 4][width][4]
  AlignedVector<int32_t> start;  ///< [padded n]
  AlignedVector<uint8_t> rows;   ///< copies of rows that may not be read past their end
  std::vector<const uint8_t*> pointers;
  Panels panels;
  std::vector<int64_t> dst_rows;
  std::vector<int32_t> row_start;
  EpiloguePlan epilogue;  ///< of a batch with tensors of its own

  template <class Vector>
  static void grow(Vector& vector, int64_t size) {
    if (static_cast<int64_t>(vector.size()) < size) vector.resize(static_cast<size_t>(size));
  }
};

/// One matmul and the kernels it uses.
class Matmul {
 public:
  Matmul(const MatmulArgs& args, Features features)
      : args_(args), kernel_(select_gemm(features, args.m)),
        pack_(select_step<PackColumnsArgs>(features)),
        row_sums_(select_step<RowSumsArgs>(features)), depth_(round_up(args.k, kGemmDepth)),
        padded_n_(round_up(args.n, kGemmColumns)),
        epilogue_(plan_epilogue(args.epilogue, args.tensors)) {
    std::fill_n(scale_, kGemmBlock, args.scale);
  }

  /// Packs B of a batch, and the start values of its columns' sums.
  void pack(int64_t batch, Scratch& s) const {
    Scratch::grow(s.weight, padded_n_ * depth_ + kGemmWeightTail);
    Scratch::grow(s.start, padded_n_);
    // With b' = b - 128 and z' = b_zero_point - 128, sum (a - za)(b - zb) is
    // sum a b' - za sum b' + k za z' - z' sum a; the last term belongs to the row.
    const int32_t constant = static_cast<int32_t>(args_.k) * args_.a_zero_point * shifted_zero();
    for (int64_t first = 0; first < padded_n_; first += kGemmColumns) {
      const int64_t block = first / kGemmBlock * kGemmBlock;
      const int64_t width = std::min(kGemmBlock, padded_n_ - block);
      int32_t sums[kGemmColumns];
      pack_({args_.b[batch] + first * args_.b_n_stride, args_.b_k_stride, args_.b_n_stride, args_.k,
             std::min(kGemmColumns, args_.n - first),
             s.weight.data() + block * depth_ + (first - block) * kGemmDepth, width * kGemmDepth,
             sums});
      for (int64_t n = 0; n < kGemmColumns; ++n) {
        s.start[static_cast<size_t>(first + n)] = constant - args_.a_zero_point * sums[n];
      }
    }
  }

  /// Rows [begin, end) of a batch; pack() has run for its B.
  void run(int64_t batch, int64_t begin, int64_t end, Scratch& s) const {
    if (args_.tensors_per_batch > 0) {
      s.epilogue = plan_epilogue(args_.epilogue, args_.tensors + batch * args_.tensors_per_batch);
    }
    const EpiloguePlan& epilogue = args_.tensors_per_batch > 0 ? s.epilogue : epilogue_;
    const int64_t most = std::max(kRowBytes / std::max<int64_t>(depth_, 1), int64_t{24});
    const int64_t parts = (end - begin + most - 1) / most;
    for (int64_t i = 0; i < parts; ++i) {
      const int64_t first = begin + (end - begin) * i / parts;
      const int64_t last = begin + (end - begin) * (i + 1) / parts;
      find_rows(batch, first, last, s);
      const GemmPanel* panels =
          kernel_.kr != kPanelChunk
              ? nullptr
              : s.panels.find({last - first, s.pointers.data(), 0, 0, 1, depth_, step()});
      for (int64_t block = 0; block < args_.n; block += kGemmBlock) {
        multiply(batch, last - first, block, epilogue, s, panels);
      }
    }
  }

 private:
  /// Rows of A are copied when a group of 4 bytes ends behind them; then they have no common step.
  int64_t step() const { return depth_ == args_.k ? args_.a_row_stride : 0; }

  int32_t shifted_zero() const { return args_.b_zero_point - 128; }

  /// Fills the table of row pointers and the rows' share of the compensation.
  void find_rows(int64_t batch, int64_t begin, int64_t end, Scratch& s) const {
    const int64_t count = end - begin;
    Scratch::grow(s.pointers, count);
    Scratch::grow(s.dst_rows, count);
    Scratch::grow(s.row_start, count);
    std::iota(s.dst_rows.begin(), s.dst_rows.begin() + count, begin);
    // The kernel reads whole groups of 4 bytes. What follows a row does not matter, for B is zero
    // there, but it must be memory of the tensor: true unless the row is the last one.
    const bool padded = depth_ != args_.k;
    const bool copy_all = padded && args_.a_row_stride < kGemmDepth;
    const int64_t copied = !padded ? 0 : copy_all ? count : end == args_.m ? 1 : 0;
    Scratch::grow(s.rows, copied * depth_);
    for (int64_t i = 0; i < count; ++i) {
      const uint8_t* row = args_.a[batch] + (begin + i) * args_.a_row_stride;
      const int64_t slot = i - (count - copied);
      if (slot >= 0) {
        uint8_t* copy = s.rows.data() + slot * depth_;
        std::memcpy(copy, row, static_cast<size_t>(args_.k));
        row = copy;
      }
      s.pointers[static_cast<size_t>(i)] = row;
    }
    if (shifted_zero() == 0) return;
    row_sums_({s.pointers.data(), count, args_.k, s.row_start.data()});
    for (int64_t i = 0; i < count; ++i) s.row_start[static_cast<size_t>(i)] *= -shifted_zero();
  }

  /// The found rows times one block of columns.
  void multiply(int64_t batch, int64_t rows, int64_t block, const EpiloguePlan& epilogue,
                const Scratch& s, const GemmPanel* panels) const {
    static constexpr float kNoBias[kGemmBlock] = {};
    GemmTile tile;
    tile.count = rows;
    tile.rows = s.pointers.data();
    tile.panels = panels;
    tile.row_stride = 0;
    tile.row_offset = 0;
    tile.taps = 1;
    tile.steps = depth_ / kGemmDepth;
    tile.weight = s.weight.data() + block * depth_;
    tile.width = std::min(kGemmBlock, padded_n_ - block);
    tile.columns = std::min(kGemmBlock, args_.n - block);
    tile.start = s.start.data() + block;
    tile.row_start = shifted_zero() == 0 ? nullptr : s.row_start.data();
    tile.scale = scale_;
    tile.bias = kNoBias;
    tile.epilogue = &epilogue;
    tile.dst_rows = s.dst_rows.data();
    const int64_t at = batch * args_.m * args_.n;
    tile.dst = epilogue.chain.quantize ? static_cast<void*>(static_cast<uint8_t*>(args_.dst) + at)
                                       : static_cast<void*>(static_cast<float*>(args_.dst) + at);
    tile.dst_stride = args_.n;
    tile.col = block;
    kernel_.run(tile);
  }

  const MatmulArgs& args_;
  const GemmEntry& kernel_;
  void (*pack_)(const PackColumnsArgs&);
  void (*row_sums_)(const RowSumsArgs&);
  int64_t depth_;     ///< k in whole groups of 4
  int64_t padded_n_;  ///< n in whole groups of 16
  EpiloguePlan epilogue_;
  float scale_[kGemmBlock];
};

}  // namespace

void matmul(const MatmulArgs& args, Features features, const Parallel& parallel) {
  if (args.batches == 0 || args.m == 0 || args.n == 0) return;
  const Matmul matmul(args, features);
  // Whole batches per thread where there are enough; else rows are split, and B packed per part.
  const int64_t work = std::max<int64_t>(args.m * args.n * args.k, 1);
  int64_t parts = 1;
  if (args.batches < 2 * parallel.threads && parallel.threads > 1) {
    parts = std::min({(2 * parallel.threads + args.batches - 1) / args.batches,
                      work / kThreadWork + 1, (args.m + 23) / 24});
  }
  const int64_t grain = std::max<int64_t>(kThreadWork * parts / work, 1);
  parallel(args.batches * parts, grain, [&](int64_t begin, int64_t end) {
    thread_local Scratch scratch;
    const uint8_t* packed = nullptr;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t batch = i / parts;
      const int64_t part = i % parts;
      // A B that is broadcast over batches is packed once.
      if (packed != args.b[batch]) matmul.pack(batch, scratch);
      packed = args.b[batch];
      matmul.run(batch, args.m * part / parts, args.m * (part + 1) / parts, scratch);
    }
  });
}

}  // namespace ipex_quant::kernels
