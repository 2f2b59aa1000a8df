// Splits embedding lookups over threads.
#include "kernels/embedding/embedding.h"

#include <algorithm>

#include "kernels/select.h"

namespace ipex_quant::kernels {

namespace {

template <class Args>
void run(const Args& args, int64_t rows_each, Features features, const Parallel& parallel) {
  const auto kernel = select_kernel<Args>(features);
  // A thread is worth waking for some 16 KiB of the table.
  const int64_t bytes = std::max<int64_t>(args.table.dim * rows_each, 1);
  const int64_t grain = std::max<int64_t>(16384 / bytes, 1);
  parallel(args.end - args.begin, grain, [&](int64_t begin, int64_t end) {
    Args part = args;
    part.begin = args.begin + begin;
    part.end = args.begin + end;
    kernel(part);
  });
}

}  // namespace

void embedding(const EmbeddingArgs& args, Features features, const Parallel& parallel) {
  run(args, 1, features, parallel);
}

void embedding_bag(const EmbeddingBagArgs& args, Features features, const Parallel& parallel) {
  const int64_t bags = args.end - args.begin;
  if (bags <= 0) return;
  const int64_t rows = args.offsets[args.end] - args.offsets[args.begin];
  run(args, rows / bags, features, parallel);
}

}  // namespace ipex_quant::kernels
