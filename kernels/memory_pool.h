/// \file
/// Memory of large blocks on huge pages: tensors that come and go, and packed weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "kernels/huge_pages.h"

namespace ipex_quant::kernels {

/// Hands out blocks of a few large regions; best fit, neighbours that are free join.
///
/// Regions are aligned to huge pages and ask for them: fewer misses of the TLB. All functions may
/// be called from any thread.
class MemoryPool {
 public:
  static constexpr std::size_t kRegionBytes = 4 * kHugePage;
  /// malloc keeps smaller blocks at hand by itself, without a lock. A sanitizer sees the bounds of
  /// what malloc gave, not those inside a region.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static constexpr std::size_t kLeastPooled = SIZE_MAX;
#else
  static constexpr std::size_t kLeastPooled = 16384;
#endif

  struct Block;

  /// Bytes taken from the system, and those of them in blocks that are in use.
  struct Statistics {
    std::size_t reserved;
    std::size_t used;
  };

  /// What becomes of a region whose last block was given back.
  enum class Regions { kKept, kReturned };

  explicit MemoryPool(Regions regions) : regions_(regions) {}
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;
  ~MemoryPool();  ///< gives all regions back; no block may be in use

  /// The pool of the process for tensors. malloc gives large blocks back to the system, so that
  /// every call of a model would fault its activations in again, page by page; here a freed block
  /// stays, warm in the cache, for the next operator. The first region is faulted in when the pool
  /// is made, so that a first call finds it ready. It is never destroyed: tensors may outlive
  /// static objects.
  static MemoryPool& tensors();

  /// The pool of the process for packed weights, which go when their model goes.
  static MemoryPool& weights();

  /// Hold all pools of the process over a fork, so that the child finds them in one piece.
  static void hold_over_fork();
  static void release_after_fork();

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

  Block* add_region(std::size_t bytes);
  void join_next(Block* block);
  void give_to_system(Block* region);

  const Regions regions_;
  std::mutex mutex_;
  std::set<Block*, BySize> free_;
  std::size_t reserved_ = 0;
  std::size_t used_ = 0;
};

}  // namespace ipex_quant::kernels
