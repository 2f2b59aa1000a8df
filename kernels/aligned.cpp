// Takes large blocks from the pool of weights.
#include "kernels/aligned.h"

#include <cstring>
#include <new>

#include "kernels/guarded_block.h"
#include "kernels/memory_pool.h"

namespace ipex_quant::kernels {

#if defined(__SANITIZE_ADDRESS__)

void* allocate_aligned(size_t bytes) { return allocate_guarded(bytes); }

void free_aligned(void* p, size_t) { free_guarded(p); }

#else

namespace {

constexpr size_t kAlignment = 64;

}  // namespace

void* allocate_aligned(size_t bytes) {
  if (bytes < MemoryPool::kLeastPooled) {
    return ::operator new(bytes, std::align_val_t{kAlignment});
  }
  MemoryPool::Block* block = MemoryPool::weights().take(kAlignment + bytes);
  char* begin = static_cast<char*>(MemoryPool::data(block));
  std::memcpy(begin, &block, sizeof(block));  // for free_aligned
  return begin + kAlignment;
}

void free_aligned(void* p, size_t bytes) {
  if (bytes < MemoryPool::kLeastPooled) {
    ::operator delete(p, std::align_val_t{kAlignment});
    return;
  }
  MemoryPool::Block* block;
  std::memcpy(&block, static_cast<char*>(p) - kAlignment, sizeof(block));
  MemoryPool::weights().give_back(block);
}

#endif

}  // namespace ipex_quant::kernels
