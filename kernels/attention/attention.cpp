// Cuts attention into blocks of queries whose scores stay in the caches.
#include "kernels/attention/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/matmul/product.h"
#include "kernels/norm/norm.h"

namespace ipex_quant::kernels {
namespace {

/// Bytes of scores that a block of queries may have.
constexpr int64_t kScoreBytes = 32 * 1024;

int64_t round_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

/// The scores with a factor that is a power of two in their scale: it changes no bit, but saves a
/// multiplication per score.
AttentionEpilogue with_folded_scale(AttentionEpilogue scores) {
  if (scores.chain.count == 0 || scores.chain.ops[0].kind != PostOpKind::kMulScalar) return scores;
  int exponent = 0;
  const float factor = scores.chain.ops[0].a;
  const float scale = scores.scale * factor;
  // Of either sign; far from denormal and infinite results, where rounding would differ.
  if (std::fabs(std::frexp(factor, &exponent)) != 0.5f) return scores;
  if (!(std::fabs(scale) > 1e-30f && std::fabs(scale) < 1e25f && scores.scale > 1e-30f))
    return scores;
  scores.scale = scale;
  std::copy(scores.chain.ops + 1, scores.chain.ops + scores.chain.count, scores.chain.ops);
  --scores.chain.count;
  return scores;
}

/// Buffers of a thread; they only grow.
struct Scratch {
  PackedColumns keys;
  PackedColumns values;
  FoundRows queries;
  FoundRows weights;
  AlignedVector<float> scores;
  AlignedVector<uint8_t> probabilities;
};

/// One attention and the kernels it uses.
class Attention {
 public:
  Attention(const AttentionArgs& args, Features features)
      : args_(args), scores_(with_folded_scale(args.scores)), features_(features),
        qk_({args.m, args.n, args.k}, args.q_zero_point, args.key.zero_point, scores_.scale,
            features),
        pv_({args.m, args.d, args.n}, args.p_zero_point, args.value.zero_point, args.output.scale,
            features),
        score_stride_(round_up(args.n, 16)) {
    const int64_t row = score_stride_ * static_cast<int64_t>(sizeof(float));
    block_ = std::max(2 * qk_.tile_rows(), kScoreBytes / std::max<int64_t>(row, 1));
  }

  /// Packs the keys and values of a batch.
  void pack(int64_t batch, Scratch& s) const {
    qk_.pack(args_.key.data[batch], args_.key.k_stride, args_.key.n_stride, s.keys);
    pv_.pack(args_.value.data[batch], args_.value.k_stride, args_.value.n_stride, s.values);
  }

  /// Queries [begin, end) of a batch; pack() has run for its keys and values.
  void run(int64_t batch, int64_t begin, int64_t end, Scratch& s) const {
    const EpiloguePlan scores = plan(scores_, batch);
    const EpiloguePlan output = plan(args_.output, batch);
    const int64_t blocks = (end - begin + block_ - 1) / block_;
    const int64_t most = std::min(block_, end - begin);
    grow(s.scores, most * score_stride_);
    // Rows of probabilities have room for whole groups of 4 bytes, and for vector stores.
    const int64_t stride = round_up(args_.n, 64);
    grow(s.probabilities, most * stride);
    for (int64_t i = 0; i < blocks; ++i) {
      const int64_t first = begin + (end - begin) * i / blocks;
      const int64_t rows = begin + (end - begin) * (i + 1) / blocks - first;
      const bool padded = first + rows < args_.m && args_.q_row_stride >= kGemmDepth;
      qk_.find({args_.q[batch] + first * args_.q_row_stride, args_.q_row_stride, rows, 0, padded},
               s.queries);
      qk_.multiply(s.queries, s.keys, from_row(scores, first), s.scores.data(), score_stride_);
      softmax({s.scores.data(), s.probabilities.data(), rows, args_.n, score_stride_, stride,
               args_.p_inv_scale, args_.p_zero_point},
              features_, serial());
      pv_.find({s.probabilities.data(), stride, rows, first, true}, s.weights);
      pv_.multiply(s.weights, s.values, output, args_.dst[batch], args_.dst_row_stride);
    }
  }

 private:
  static EpiloguePlan plan(const AttentionEpilogue& epilogue, int64_t batch) {
    return plan_epilogue(epilogue.chain, epilogue.tensors + batch * epilogue.tensors_per_batch);
  }

  const AttentionArgs& args_;
  AttentionEpilogue scores_;
  Features features_;
  U8Product qk_;
  U8Product pv_;
  int64_t score_stride_;
  int64_t block_;  ///< queries
};

}  // namespace

void attention(const AttentionArgs& args, Features features, const Parallel& parallel) {
  if (args.batches == 0 || args.m == 0 || args.d == 0) return;
  const Attention attention(args, features);
  const int64_t work = std::max<int64_t>(args.m * args.n * (args.k + args.d), 1);
  const int64_t parts = product_parts(args.batches, args.m, work, parallel.threads);
  const int64_t grain = std::max<int64_t>(kProductThreadWork * parts / work, 1);
  parallel(args.batches * parts, grain, [&](int64_t begin, int64_t end) {
    thread_local Scratch scratch;
    const uint8_t* keys = nullptr;
    const uint8_t* values = nullptr;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t batch = i / parts;
      const int64_t part = i % parts;
      // Keys and values that are broadcast over batches are packed once.
      if (keys != args.key.data[batch] || values != args.value.data[batch]) {
        attention.pack(batch, scratch);
      }
      keys = args.key.data[batch];
      values = args.value.data[batch];
      attention.run(batch, args.m * part / parts, args.m * (part + 1) / parts, scratch);
    }
  });
}

}  // namespace ipex_quant::kernels
