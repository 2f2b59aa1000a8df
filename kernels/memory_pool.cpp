// Implements MemoryPool on pages of the system.
#include "kernels/memory_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <new>

namespace ipex_quant::kernels {

/// A piece of a region. The blocks of a region are linked in the order of their addresses.
struct MemoryPool::Block {
  char* begin;
  std::size_t size;
  Block* previous;
  Block* next;
  bool used;
};

namespace {

/// Less than this is not worth a block of its own.
constexpr std::size_t kLeastRest = 4096;

/// Whole cache lines, and never a multiple of a page: blocks that follow each other would compete
/// for the same sets of the cache, and a store would seem to touch a load 4096 bytes away.
std::size_t rounded(std::size_t bytes) {
  constexpr std::size_t kLine = 64;
  constexpr std::size_t kPage = 4096;
  const std::size_t lines = (std::max<std::size_t>(bytes, 1) + kLine - 1) / kLine * kLine;
  return lines % kPage == 0 ? lines + 3 * kLine : lines;
}

/// Pages aligned to huge ones, as huge ones where the system has them.
char* map_pages(std::size_t bytes) {
  const std::size_t more = bytes + kHugePage;
  void* const got = mmap(nullptr, more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (got == MAP_FAILED) throw std::bad_alloc();
  char* const begin = static_cast<char*>(got);
  const auto rest = reinterpret_cast<std::uintptr_t>(begin) % kHugePage;
  char* const aligned = rest == 0 ? begin : begin + (kHugePage - rest);
  if (aligned != begin) munmap(begin, static_cast<std::size_t>(aligned - begin));
  const std::size_t behind = more - static_cast<std::size_t>(aligned - begin) - bytes;
  if (behind != 0) munmap(aligned + bytes, behind);
  wish_huge_pages(aligned, bytes);
  return aligned;
}

std::atomic<MemoryPool*> g_tensors{nullptr};
std::atomic<MemoryPool*> g_weights{nullptr};
std::mutex g_making;  // of a pool; a static one in a function would have no lock to hold

/// The pool at `place`. `prepare` runs on a new one before anybody else sees it.
template <class Prepare>
MemoryPool& made_once(std::atomic<MemoryPool*>& place, MemoryPool::Regions regions,
                      const Prepare& prepare) {
  MemoryPool* pool = place.load(std::memory_order_acquire);
  if (pool != nullptr) return *pool;
  const std::lock_guard<std::mutex> lock(g_making);
  pool = place.load(std::memory_order_relaxed);
  if (pool == nullptr) {
    auto made = std::make_unique<MemoryPool>(regions);
    prepare(*made);
    pool = made.release();
    place.store(pool, std::memory_order_release);
  }
  return *pool;
}

}  // namespace

bool MemoryPool::BySize::operator()(const Block* a, const Block* b) const {
  return a->size != b->size ? a->size < b->size : std::less<const char*>()(a->begin, b->begin);
}

MemoryPool::~MemoryPool() { release_unused(); }

MemoryPool& MemoryPool::tensors() {
  return made_once(g_tensors, Regions::kKept, [](MemoryPool& pool) {
    const Block* region = pool.add_region(kRegionBytes);
    for (std::size_t at = 0; at < region->size; at += 4096) {
      *static_cast<volatile char*>(region->begin + at) = 0;
    }
  });
}

MemoryPool& MemoryPool::weights() {
  return made_once(g_weights, Regions::kReturned, [](MemoryPool&) {});
}

void MemoryPool::hold_over_fork() {
  g_making.lock();
  for (MemoryPool* pool : {g_tensors.load(), g_weights.load()}) {
    if (pool != nullptr) pool->mutex_.lock();
  }
}

void MemoryPool::release_after_fork() {
  for (MemoryPool* pool : {g_tensors.load(), g_weights.load()}) {
    if (pool != nullptr) pool->mutex_.unlock();
  }
  g_making.unlock();
}

void* MemoryPool::data(Block* block) { return block->begin; }

MemoryPool::Block* MemoryPool::take(std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  const std::lock_guard<std::mutex> lock(mutex_);
  const Block wanted{nullptr, size, nullptr, nullptr, false};
  const auto found = free_.lower_bound(const_cast<Block*>(&wanted));
  Block* block = found == free_.end() ? add_region(size) : *found;
  if (block->size >= size + kLeastRest) {
    auto* rest = new Block{block->begin + size, block->size - size, block, block->next, false};
    free_.erase(block);
    if (rest->next != nullptr) rest->next->previous = rest;
    block->next = rest;
    block->size = size;
    free_.insert(rest);
  } else {
    free_.erase(block);
  }
  block->used = true;
  used_ += block->size;
  return block;
}

void MemoryPool::give_back(Block* block) {
  const std::lock_guard<std::mutex> lock(mutex_);
  used_ -= block->size;
  block->used = false;
  if (block->next != nullptr && !block->next->used) {
    free_.erase(block->next);
    join_next(block);
  }
  if (block->previous != nullptr && !block->previous->used) {
    block = block->previous;
    free_.erase(block);
    join_next(block);
  }
  if (regions_ == Regions::kReturned && block->previous == nullptr && block->next == nullptr) {
    give_to_system(block);
  } else {
    free_.insert(block);
  }
}

void MemoryPool::release_unused() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto it = free_.begin(); it != free_.end();) {
    Block* block = *it;
    if (block->previous != nullptr || block->next != nullptr) {
      ++it;
      continue;
    }
    it = free_.erase(it);
    give_to_system(block);
  }
}

MemoryPool::Statistics MemoryPool::statistics() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return {reserved_, used_};
}

MemoryPool::Block* MemoryPool::add_region(std::size_t bytes) {
  const std::size_t pages = (bytes + kHugePage - 1) / kHugePage;
  const std::size_t size = std::max(pages * kHugePage, kRegionBytes);
  auto block = std::make_unique<Block>(Block{nullptr, size, nullptr, nullptr, false});
  block->begin = map_pages(size);
  free_.insert(block.get());
  reserved_ += size;
  return block.release();
}

void MemoryPool::join_next(Block* block) {
  Block* next = block->next;
  block->size += next->size;
  block->next = next->next;
  if (next->next != nullptr) next->next->previous = block;
  delete next;
}

void MemoryPool::give_to_system(Block* region) {
  munmap(region->begin, region->size);
  reserved_ -= region->size;
  delete region;
}

}  // namespace ipex_quant::kernels
