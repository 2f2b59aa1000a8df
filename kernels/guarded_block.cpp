// Guard words around the blocks of builds with AddressSanitizer.
#include "kernels/guarded_block.h"

#if defined(__SANITIZE_ADDRESS__)

#include <sanitizer/asan_interface.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <new>

namespace ipex_quant::kernels {
namespace {

constexpr size_t kGuard = 64;
constexpr uint8_t kPattern = 0xa7;

/// Lies in front of the guard words in front of the data.
struct Header {
  size_t bytes;
};
constexpr size_t kFront = 2 * kGuard;
static_assert(sizeof(Header) <= kGuard);

bool is_whole(const uint8_t* guard) {
  for (size_t i = 0; i < kGuard; ++i) {
    if (guard[i] != kPattern) return false;
  }
  return true;
}

}  // namespace

void* allocate_guarded(size_t bytes) {
  void* block = ::operator new(kFront + bytes + kGuard, std::align_val_t{kGuard});
  const Header header{bytes};
  std::memcpy(block, &header, sizeof header);
  uint8_t* data = static_cast<uint8_t*>(block) + kFront;
  for (uint8_t* guard : {data - kGuard, data + bytes}) {
    std::memset(guard, kPattern, kGuard);
    __asan_poison_memory_region(guard, kGuard);
  }
  return data;
}

void free_guarded(void* p) {
  uint8_t* data = static_cast<uint8_t*>(p);
  void* block = data - kFront;
  Header header;
  std::memcpy(&header, block, sizeof header);
  for (uint8_t* guard : {data - kGuard, data + header.bytes}) {
    __asan_unpoison_memory_region(guard, kGuard);
    if (is_whole(guard)) continue;
    std::fprintf(stderr, "a kernel wrote %s a block of %zu bytes\n",
                 guard < data ? "in front of" : "behind", header.bytes);
    std::abort();
  }
  ::operator delete(block, std::align_val_t{kGuard});
}

}  // namespace ipex_quant::kernels

#endif
