/// \file
/// Runs a function on many threads that start together.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

namespace ipex_quant::tests {

/// Calls `work(i)` on thread i of `count`; all wait for the last one to be there.
template <class F>
void at_once(int count, const F& work) {
  std::atomic<int> missing{count};
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      --missing;
      while (missing.load() > 0) std::this_thread::yield();
      work(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace ipex_quant::tests
