// Makes tensors on the MemoryPool, past the dispatcher.
#include "runtime/memory.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/TensorBase.h>
#include <c10/core/CPUAllocator.h>

#include <cstring>
#include <new>

#include "kernels/guarded_block.h"
#include "kernels/memory_pool.h"

namespace ipex_quant::runtime {
namespace {

using kernels::MemoryPool;

void give_back(void* block) {
  MemoryPool::tensors().give_back(static_cast<MemoryPool::Block*>(block));
}

/// The pool as torch's tensors take it.
class PoolAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
#if defined(__SANITIZE_ADDRESS__)
    void* p = kernels::allocate_guarded(bytes);
    return {p, p, &kernels::free_guarded, at::Device(at::kCPU)};
#endif
    if (bytes < MemoryPool::kLeastPooled) return c10::GetCPUAllocator()->allocate(bytes);
    try {
      MemoryPool::Block* block = MemoryPool::tensors().take(bytes);
      return {MemoryPool::data(block), block, &give_back, at::Device(at::kCPU)};
    } catch (const std::bad_alloc&) {
      TORCH_CHECK(false, "out of memory: a tensor of an int8 operator needs ", bytes, " bytes");
    }
  }

  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }

  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
};

c10::Allocator* const g_allocator = new PoolAllocator();  // outlives every tensor

constexpr c10::DispatchKeySet kCpu(c10::DispatchKey::CPU);

}  // namespace

at::Tensor empty(at::IntArrayRef sizes, at::ScalarType type) {
  return at::detail::empty_generic(sizes, g_allocator, kCpu, type, std::nullopt);
}

at::Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides, at::ScalarType type) {
  return at::detail::empty_strided_generic(sizes, strides, g_allocator, kCpu, type);
}

at::Tensor empty_like(const at::Tensor& like, at::ScalarType type) {
  if (like.is_contiguous()) return empty(like.sizes(), type);
  if (like.is_non_overlapping_and_dense()) return empty_strided(like.sizes(), like.strides(), type);
  return empty(like.sizes(), type);
}

}  // namespace ipex_quant::runtime
