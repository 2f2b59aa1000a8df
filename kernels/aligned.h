/// \file
/// A vector whose data starts on a cache line, and on huge pages when it is large.
#pragma once

#include <cstddef>
#include <vector>

namespace ipex_quant::kernels {

/// Memory aligned to 64; large blocks are of MemoryPool::weights().
/// \throws std::bad_alloc
void* allocate_aligned(size_t bytes);
/// \param bytes  as it was allocated
void free_aligned(void* p, size_t bytes);

template <class T>
struct AlignedAllocator {
  using value_type = T;

  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}

  T* allocate(size_t n) { return static_cast<T*>(allocate_aligned(n * sizeof(T))); }
  void deallocate(T* p, size_t n) { free_aligned(p, n * sizeof(T)); }
  bool operator==(const AlignedAllocator&) const { return true; }
  bool operator!=(const AlignedAllocator&) const { return false; }
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

}  // namespace ipex_quant::kernels
