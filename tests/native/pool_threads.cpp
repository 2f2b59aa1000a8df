// Eight threads at once use the pool of packed weights and the pool of memory.
#include <ATen/ATen.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "kernels/memory_pool.h"
#include "runtime/weight_pool.h"
#include "tests/native/at_once.h"

namespace {

using ipex_quant::kernels::MemoryPool;
using ipex_quant::tests::at_once;
using Pool = ipex_quant::runtime::WeightPool<std::vector<std::int8_t>>;

constexpr int kThreads = 8;
constexpr int kWeights = 5;
constexpr int kRounds = 300;

std::vector<std::int8_t> pack(const at::Tensor& plain) {
  const std::int8_t* data = plain.const_data_ptr<std::int8_t>();
  return {data, data + plain.numel()};
}

/// Number of wrong packed weights.
int use_weights() {
  std::vector<at::Tensor> weights;
  for (int i = 0; i < kWeights; ++i) weights.push_back(at::full({64}, i, at::kChar));
  Pool pool;
  std::atomic<int> wrong{0};
  at_once(kThreads, [&](int thread) {
    for (int round = 0; round < kRounds; ++round) {
      const int which = (round + thread) % kWeights;
      // A copy of its own, as each loaded file has: the pool finds the one that is there.
      const Pool::Handle first = pool.get(weights[which].clone(), "key", pack);
      const Pool::Handle second = pool.get(weights[which].clone(), "key", pack);
      if (first != second || first->packed.size() != 64 || first->packed[63] != which) ++wrong;
    }
  });
  std::printf("weights: wrong %d, left in the pool %zu\n", wrong.load(), pool.size());
  return wrong + (pool.size() > 2 * kWeights + 8 ? 1 : 0);
}

/// Number of blocks that held what another thread wrote, and 1 more if a block or a region is left.
int use_memory(MemoryPool::Regions regions) {
  MemoryPool pool(regions);
  std::atomic<int> wrong{0};
  at_once(kThreads, [&](int thread) {
    std::vector<std::pair<MemoryPool::Block*, std::size_t>> blocks;
    for (int round = 0; round < kRounds; ++round) {
      const std::size_t bytes = std::size_t{64} << ((round * 7 + thread) % 14);
      MemoryPool::Block* block = pool.take(bytes);
      std::memset(MemoryPool::data(block), thread, bytes);
      blocks.emplace_back(block, bytes);
      if (round % 50 == thread) pool.release_unused();
      if (blocks.size() < 5) continue;
      const auto [oldest, size] = blocks[round % blocks.size()];
      const char* data = static_cast<const char*>(MemoryPool::data(oldest));
      for (std::size_t i = 0; i < size; i += 63) wrong += data[i] != thread;
      pool.give_back(oldest);
      blocks.erase(blocks.begin() + round % static_cast<int>(blocks.size()));
    }
    for (const auto& [block, size] : blocks) pool.give_back(block);
  });
  if (regions == MemoryPool::Regions::kKept) pool.release_unused();
  const auto [reserved, used] = pool.statistics();
  std::printf("memory: wrong %d, still in use %zu of %zu\n", wrong.load(), used, reserved);
  return wrong + (reserved != 0 ? 1 : 0);
}

}  // namespace

int main() {
  const int wrong = use_weights() + use_memory(MemoryPool::Regions::kKept) +
                    use_memory(MemoryPool::Regions::kReturned);
  return wrong == 0 ? 0 : 1;
}
