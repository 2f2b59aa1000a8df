// Kernels that work on rows or single values: norms, pools, embeddings, elementwise.
#include <memory>

#include "kernels/eltwise/binary.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/embedding/embedding.h"
#include "kernels/norm/group_norm.h"
#include "kernels/norm/norm.h"
#include "kernels/pool/pool.h"
#include "tests/native/kernel_case.h"

namespace ipex_quant::tests {

using namespace kernels;

namespace {

using Floats = std::shared_ptr<const AlignedVector<float>>;
using Codes = std::shared_ptr<const Bytes>;

Floats shared_floats(int64_t count) {
  return std::make_shared<const AlignedVector<float>>(random_floats(count));
}
Codes shared_bytes(int64_t count) { return std::make_shared<const Bytes>(random_bytes(count)); }

std::vector<KernelCase> norm_cases() {
  constexpr int64_t kRows = 300, kCols = 77;
  constexpr int64_t kItems = 2, kPixels = 300, kChannels = 32;
  const Floats src = shared_floats(kRows * kCols);
  const Floats weight = shared_floats(kCols);
  return {{"softmax", kRows * kCols,
           [=](uint8_t* dst, Features f, const Parallel& p) {
             softmax({src->data(), dst, kRows, kCols, kCols, kCols, 255.0f, 0}, f, p);
           }},
          {"layer norm", kRows * kCols,
           [=](uint8_t* dst, Features f, const Parallel& p) {
             layer_norm({src->data(), weight->data(), weight->data(), nullptr, nullptr, dst, kRows,
                         kCols, 1e-5f, 20.0f, 128},
                        f, p);
           }},
          {"root mean square norm", kRows * kCols * 5,
           [=](uint8_t* dst, Features f, const Parallel& p) {
             auto* y = reinterpret_cast<float*>(dst);
             layer_norm({src->data(), weight->data(), nullptr, weight->data(), y,
                         dst + kRows * kCols * 4, kRows, kCols, 1e-5f, 20.0f, 128},
                        f, p);
           }},
          {"group norm", kItems * kPixels * kChannels,
           [=](uint8_t* dst, Features f, const Parallel& p) {
             group_norm({src->data(), weight->data(), weight->data() + 1, kItems, kPixels,
                         kChannels, 4, 1e-5f, quantizing(), dst},
                        f, p);
           }}};
}

/// Windows of 3 x 3 with a border of 1.
PoolArgs pooling(const Bytes& src, int64_t size, int64_t channels, uint8_t* dst) {
  PoolArgs args{src.data(), dst, 1, channels, {1, size, size}, {{{0, 1, 1, 1}}, {}, {}}};
  for (int axis = 1; axis < kPoolAxes; ++axis) {
    for (int64_t i = 0; i < size; ++i) {
      args.windows[axis].push_back(
          {std::max<int64_t>(i - 1, 0), std::min<int64_t>(i + 2, size), 1, 3});
    }
  }
  return args;
}

std::vector<KernelCase> pool_cases() {
  constexpr int64_t kSize = 24, kChannels = 32;
  constexpr int64_t kRows = 1600, kCols = 49;
  const Codes src = shared_bytes(kRows * kCols);
  const AverageArgs average{0.02f, 7, 40.0f, 10, 0};
  return {{"max pool", kSize * kSize * kChannels,
           [=](uint8_t* dst, Features f, const Parallel& p) {
             max_pool(pooling(*src, kSize, kChannels, dst), f, p);
           }},
          {"average pool", kSize * kSize * kChannels,
           [=](uint8_t* dst, Features f, const Parallel& p) {
             avg_pool(pooling(*src, kSize, kChannels, dst), average, f, p);
           }},
          {"average of rows", kRows, [=](uint8_t* dst, Features f, const Parallel& p) {
             average_rows(src->data(), kRows, kCols, average, dst, f, p);
           }}};
}

std::vector<KernelCase> embedding_cases() {
  constexpr int64_t kTableRows = 50, kDim = 64, kIndices = 900, kBags = 300;
  const auto table =
      std::make_shared<const AlignedVector<int8_t>>(random_weights(kTableRows * kDim));
  const Floats scales = std::make_shared<const AlignedVector<float>>(kTableRows, 0.01f);
  const Floats factors = shared_floats(kIndices);
  auto indices = std::make_shared<std::vector<int64_t>>();
  for (int64_t i = 0; i < kIndices; ++i) indices->push_back(i * 7 % kTableRows);
  auto offsets = std::make_shared<std::vector<int64_t>>();
  for (int64_t i = 0; i <= kBags; ++i) offsets->push_back(i * (kIndices / kBags));
  const auto view = [=] { return EmbeddingTable{table->data(), kDim, scales->data(), 1}; };
  std::vector<KernelCase> cases = {
      {"embedding", kIndices * kDim, [=](uint8_t* dst, Features f, const Parallel& p) {
         embedding({view(), indices->data(), 0, kIndices, quantizing(), dst}, f, p);
       }}};
  for (const BagMode mode : {BagMode::kSum, BagMode::kMean, BagMode::kMax}) {
    const float* per_sample = mode == BagMode::kSum ? factors->data() : nullptr;
    cases.push_back({"embedding bag, mode " + std::to_string(static_cast<int>(mode)), kBags * kDim,
                     [=](uint8_t* dst, Features f, const Parallel& p) {
                       const Floats keep = factors;
                       embedding_bag({view(), indices->data(), offsets->data(), per_sample, -1,
                                      mode, 0, kBags, quantizing(), dst},
                                     f, p);
                     }});
  }
  return cases;
}

std::vector<KernelCase> elementwise_cases() {
  constexpr int64_t kValues = 100000;
  constexpr int64_t kRows = 1000, kCols = 100;
  constexpr int64_t kImages = 2, kPlanes = 4, kPixels = 12500;
  const Floats src = shared_floats(kValues);
  const Codes codes = shared_bytes(kValues);
  const Codes other = shared_bytes(kValues);
  return {{"quantize and table", kValues,
           [=](uint8_t* dst, Features f, const Parallel& p) {
             quantize({src->data(), dst, kValues, 100.0f, 128}, f, p);
             uint8_t table[256];
             requantize_table(0.01f, 128, 50.0f, 10, f, table);
             lut({dst, dst, kValues, table}, f, p);
           }},
          {"quantize planes", kValues,
           [=](uint8_t* dst, Features f, const Parallel& p) {
             quantize_planes({src->data(), kPixels, dst, kPlanes, kPixels, 100.0f, 128}, kImages, f,
                             p);
           }},
          {"dequantize", kValues * 4,
           [=](uint8_t* dst, Features f, const Parallel& p) {
             dequantize({codes->data(), reinterpret_cast<float*>(dst), kValues, 0.01f, 7}, f, p);
           }},
          {"cat", 2 * kValues,
           [=](uint8_t* dst, Features f, const Parallel& p) {
             uint8_t table[256];
             requantize_table(0.01f, 128, 50.0f, 10, f, table);
             copy_rows({codes->data(), kCols, dst, 2 * kCols, kRows, kCols, nullptr}, f, p);
             copy_rows({other->data(), kCols, dst + kCols, 2 * kCols, kRows, kCols, table}, f, p);
           }},
          {"binary", kValues, [=](uint8_t* dst, Features f, const Parallel& p) {
             binary({BinaryOp::kMul,
                     {codes->data(), kCols, 1, 0.01f, 120},
                     {other->data(), 0, 1, 0.02f, 130},
                     kRows,
                     kCols,
                     quantizing(),
                     dst,
                     kCols},
                    f, p);
           }}};
}

}  // namespace

std::vector<KernelCase> row_cases() {
  std::vector<KernelCase> cases;
  for (const auto make : {norm_cases, pool_cases, embedding_cases, elementwise_cases}) {
    for (KernelCase& c : make()) cases.push_back(std::move(c));
  }
  return cases;
}

}  // namespace ipex_quant::tests
