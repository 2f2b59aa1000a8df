// Asks Linux by madvise.
#include "kernels/huge_pages.h"

#include <sys/mman.h>

#include <cstdint>

namespace ipex_quant::kernels {
namespace {

/// The whole huge pages within a piece of memory.
struct Inside {
  void* begin;
  std::size_t bytes;
};

[[maybe_unused]] Inside inside(const void* begin, std::size_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::uintptr_t from = (address + kHugePage - 1) / kHugePage * kHugePage;
  const std::uintptr_t to = (address + bytes) / kHugePage * kHugePage;
  return {reinterpret_cast<void*>(from), to > from ? to - from : 0};
}

// What the system refuses is left: the pages stay small, and every result is the same.
[[maybe_unused]] void advise(const Inside& pages, int advice) {
  if (pages.bytes != 0) madvise(pages.begin, pages.bytes, advice);
}

}  // namespace

void wish_huge_pages([[maybe_unused]] void* begin, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_HUGEPAGE
  advise(inside(begin, bytes), MADV_HUGEPAGE);
#endif
}

void move_to_huge_pages([[maybe_unused]] const void* begin, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_HUGEPAGE
  constexpr int kCollapse = 25;  // MADV_COLLAPSE; glibc's headers are older
  advise(inside(begin, bytes), MADV_HUGEPAGE);
  advise(inside(begin, bytes), kCollapse);
#endif
}

}  // namespace ipex_quant::kernels
