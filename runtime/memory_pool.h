/// \file
/// Memory that goes from one tensor to the next: what a call frees serves the next one.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

namespace ipex_quant::runtime {

/// Hands out blocks of a few large regions; best fit, neighbours that are free join.
///
/// malloc gives large blocks back to the system, so that every call of a model would fault its
/// activations in again, page by page. Here a freed block stays, warm in the cache, for the next
/// operator. Regions are aligned to huge pages and ask for them; the first is faulted in when the
/// pool is made, so that a first call finds it ready. All functions may be called from any thread.
class MemoryPool {
 public:
  static constexpr std::size_t kHugePage = std::size_t{2} << 20;
  static constexpr std::size_t kRegionBytes = 4 * kHugePage;

  struct Block;

  /// Bytes taken from the system, and those of them in blocks that are in use.
  struct Statistics {
    std::size_t reserved;
    std::size_t used;
  };

  MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;
  ~MemoryPool();  ///< gives all regions back; no block may be in use

  /// The pool of the process. It is never destroyed: tensors may outlive static objects. A fork
  /// waits for threads that make or use it, so that the child finds it in one piece.
  static MemoryPool& instance();

  /// A block of at least `bytes` bytes, aligned to 64.
  /// \throws std::bad_alloc when the system has no memory; the pool is as it was then.
  Block* take(std::size_t bytes);

  /// Where a block begins.
  static void* data(Block* block);

  /// Takes a block back; `block` came from take() and was not given back before.
  void give_back(Block* block);

  /// Returns regions without a used block to the system.
  void release_unused();

  Statistics statistics();

 private:
  struct BySize {
    bool operator()(const Block* a, const Block* b) const;
  };

  static void hold_over_fork();
  static void release_after_fork();
  static const int kForkHandlers;

  Block* add_region(std::size_t bytes);
  void join_next(Block* block);

  std::mutex mutex_;
  std::set<Block*, BySize> free_;
  std::size_t reserved_ = 0;
  std::size_t used_ = 0;
};

}  // namespace ipex_quant::runtime
