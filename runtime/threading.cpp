// Hands at::parallel_for to the kernels, but for a child of fork, which has no threads to share.
#include "runtime/threading.h"

#include <ATen/Parallel.h>
#include <dirent.h>
#include <pthread.h>

#include <atomic>

namespace ipex_quant::runtime {
namespace {

std::atomic<bool> g_had_threads{false};  // when it last forked
std::atomic<bool> g_lost_threads{false};

/// Whether this process has more threads than the calling one.
bool has_threads() {
  DIR* tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return true;  // unknown
  int count = 0;
  while (const dirent* entry = readdir(tasks)) count += entry->d_name[0] != '.';
  closedir(tasks);
  return count > 1;
}

/// The pool of OpenMP does not survive a fork: a child that hands it work waits for ever for
/// threads that only its parent has. A parent that never made the pool gives children that may make
/// theirs.
[[maybe_unused]] const int g_registered =
    pthread_atfork([] { g_had_threads = has_threads(); }, nullptr,
                   [] {
                     if (g_had_threads) g_lost_threads = true;
                   });

void for_range(void*, int64_t n, int64_t grain, kernels::Parallel::Body body, void* arg) {
  at::parallel_for(0, n, grain, [&](int64_t begin, int64_t end) { body(arg, begin, end); });
}

}  // namespace

kernels::Parallel torch_parallel() {
  if (g_lost_threads.load(std::memory_order_relaxed)) return kernels::serial();
  return {nullptr, at::in_parallel_region() ? 1 : at::get_num_threads(), for_range};
}

}  // namespace ipex_quant::runtime
