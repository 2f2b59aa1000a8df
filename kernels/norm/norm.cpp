// Chooses the norm kernel for the CPU features and splits the rows over threads.
#include "kernels/norm/norm.h"

#include <algorithm>

#include "kernels/select.h"

namespace ipex_quant::kernels {

namespace {

/// Rows that are worth waking a thread for.
int64_t grain(int64_t cols) { return std::max<int64_t>(8192 / std::max<int64_t>(cols, 1), 1); }

}  // namespace

void softmax(const SoftmaxArgs& args, Features features, const Parallel& parallel) {
  if (args.cols <= 0) return;
  const auto kernel = select_kernel<SoftmaxArgs>(features);
  parallel(args.rows, grain(args.cols), [&](int64_t begin, int64_t end) {
    SoftmaxArgs part = args;
    part.src += begin * args.src_stride;
    part.dst += begin * args.dst_stride;
    part.rows = end - begin;
    kernel(part);
  });
}

void layer_norm(const LayerNormArgs& args, Features features, const Parallel& parallel) {
  if (args.cols <= 0) return;
  const auto kernel = select_kernel<LayerNormArgs>(features);
  parallel(args.rows, grain(args.cols), [&](int64_t begin, int64_t end) {
    LayerNormArgs part = args;
    part.src += begin * args.cols;
    part.bytes += begin * args.cols;
    if (part.dst != nullptr) part.dst += begin * args.cols;
    part.rows = end - begin;
    kernel(part);
  });
}

}  // namespace ipex_quant::kernels
