// Batches and threads of matmul.
#include "kernels/matmul/matmul.h"

#include <algorithm>

#include "kernels/matmul/product.h"

namespace ipex_quant::kernels {
namespace {

/// Bytes of rows that stay in L2 while all columns pass over them.
constexpr int64_t kRowBytes = 256 * 1024;

/// Buffers of a thread; they only grow.
struct Scratch {
  PackedColumns columns;
  FoundRows rows;
  EpiloguePlan epilogue;  ///< of a batch with tensors of its own
};

/// Rows [begin, end) of a batch, whose B is packed.
void multiply_rows(const MatmulArgs& args, const U8Product& product, const EpiloguePlan& epilogue,
                   int64_t batch, int64_t begin, int64_t end, Scratch& s) {
  const int64_t at = batch * args.m * args.n;
  void* dst = epilogue.chain.quantize ? static_cast<void*>(static_cast<uint8_t*>(args.dst) + at)
                                      : static_cast<void*>(static_cast<float*>(args.dst) + at);
  const int64_t most = std::max(kRowBytes / std::max<int64_t>(product.depth(), 1), int64_t{24});
  const int64_t parts = (end - begin + most - 1) / most;
  for (int64_t i = 0; i < parts; ++i) {
    const int64_t first = begin + (end - begin) * i / parts;
    const int64_t last = begin + (end - begin) * (i + 1) / parts;
    const bool padded = last < args.m && args.a_row_stride >= kGemmDepth;
    product.find(
        {args.a[batch] + first * args.a_row_stride, args.a_row_stride, last - first, first, padded},
        s.rows);
    product.multiply(s.rows, s.columns, epilogue, dst, args.n);
  }
}

}  // namespace

void matmul(const MatmulArgs& args, Features features, const Parallel& parallel) {
  if (args.batches == 0 || args.m == 0 || args.n == 0) return;
  const U8Product product({args.m, args.n, args.k}, args.a_zero_point, args.b_zero_point,
                          args.scale, features);
  const EpiloguePlan epilogue = plan_epilogue(args.epilogue, args.tensors);
  const int64_t work = std::max<int64_t>(args.m * args.n * args.k, 1);
  const int64_t parts = product_parts(args.batches, args.m, work, parallel.threads);
  const int64_t grain = std::max<int64_t>(kProductThreadWork * parts / work, 1);
  parallel(args.batches * parts, grain, [&](int64_t begin, int64_t end) {
    thread_local Scratch scratch;
    const uint8_t* packed = nullptr;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t batch = i / parts;
      const int64_t part = i % parts;
      // A B that is broadcast over batches is packed once.
      if (packed != args.b[batch]) {
        product.pack(args.b[batch], args.b_k_stride, args.b_n_stride, scratch.columns);
      }
      packed = args.b[batch];
      const bool own = args.tensors_per_batch > 0;
      if (own) {
        scratch.epilogue =
            plan_epilogue(args.epilogue, args.tensors + batch * args.tensors_per_batch);
      }
      multiply_rows(args, product, own ? scratch.epilogue : epilogue, batch, args.m * part / parts,
                    args.m * (part + 1) / parts, scratch);
    }
  });
}

}  // namespace ipex_quant::kernels
