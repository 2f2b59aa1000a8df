// Holds the locks of all pools over a fork.
#include "runtime/weight_pool.h"

#include <pthread.h>

namespace ipex_quant::runtime {
namespace {

std::mutex g_mutex;

// In the order in which a thread that packs a weight takes them.
void hold() {
  g_mutex.lock();
  kernels::MemoryPool::hold_over_fork();
}

void release() {
  kernels::MemoryPool::release_after_fork();
  g_mutex.unlock();
}

[[maybe_unused]] const int g_registered = pthread_atfork(hold, release, release);

}  // namespace

std::mutex& weight_pool_mutex() { return g_mutex; }

}  // namespace ipex_quant::runtime
