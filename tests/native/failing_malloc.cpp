// A malloc that fails once, when it is told to: tests/e2e/test_out_of_memory.py loads it before all
// others.
#include <malloc.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

thread_local std::size_t t_least = 0;  // bytes that count as large; 0: nothing fails
thread_local long t_until_failure = 0;

/// Counts down at each large request; true for the one that is to fail.
bool fails(std::size_t bytes) {
  if (t_least == 0 || bytes < t_least || t_until_failure-- != 0) return false;
  errno = ENOMEM;
  return true;
}

}  // namespace

extern "C" {

/// Lets the request of this thread fail that is number `number` among those of `least` bytes.
void fail_at(long number, std::size_t least) {
  t_until_failure = number;
  t_least = least;
}

/// Ends that; returns whether one failed.
int failed() {
  t_least = 0;
  return t_until_failure < 0;
}

void* malloc(std::size_t bytes) noexcept { return fails(bytes) ? nullptr : __libc_malloc(bytes); }

void* calloc(std::size_t count, std::size_t size) noexcept {
  return fails(count * size) ? nullptr : __libc_calloc(count, size);
}

void* realloc(void* old, std::size_t bytes) noexcept {
  return fails(bytes) ? nullptr : __libc_realloc(old, bytes);
}

void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
  return fails(bytes) ? nullptr : __libc_memalign(alignment, bytes);
}

void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  return memalign(alignment, bytes);
}

int posix_memalign(void** made, std::size_t alignment, std::size_t bytes) noexcept {
  void* got = memalign(alignment, bytes);
  if (got == nullptr) return ENOMEM;
  *made = got;
  return 0;
}
}
