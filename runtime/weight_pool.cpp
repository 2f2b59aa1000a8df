// Holds the lock of the pools of packed weights over a fork.
#include "runtime/weight_pool.h"

#include <pthread.h>

namespace ipex_quant::runtime {
namespace {

std::mutex g_mutex;

[[maybe_unused]] const int g_registered =
    pthread_atfork([] { g_mutex.lock(); }, [] { g_mutex.unlock(); }, [] { g_mutex.unlock(); });

}  // namespace

std::mutex& weight_pool_mutex() { return g_mutex; }

}  // namespace ipex_quant::runtime
