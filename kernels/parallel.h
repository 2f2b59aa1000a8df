/// \file
/// The caller's thread pool, handed to kernels as plain function pointers.
#pragma once

#include <cstdint>

namespace ipex_quant::kernels {

/// Runs a range of independent tasks on the caller's threads.
///
/// `for_range(pool, n, grain, body, arg)` calls `body(arg, begin, end)` for disjoint ranges that
/// cover [0, n), perhaps at the same time, and returns when all are done. Results never depend on
/// the split.
struct Parallel {
  using Body = void (*)(void* arg, int64_t begin, int64_t end);
  void* pool;   ///< opaque, passed back; may be null
  int threads;  ///< how many threads may run at once, >= 1
  void (*for_range)(void* pool, int64_t n, int64_t grain, Body body, void* arg);

  /// Calls `f(begin, end)` over [0, n).
  template <class F>
  void operator()(int64_t n, int64_t grain, const F& f) const {
    for_range(
        pool, n, grain,
        [](void* arg, int64_t begin, int64_t end) { (*static_cast<const F*>(arg))(begin, end); },
        const_cast<F*>(&f));
  }
};

/// Runs everything on the calling thread.
inline Parallel serial() {
  return {nullptr, 1, [](void*, int64_t n, int64_t, Parallel::Body body, void* arg) {
            if (n > 0) body(arg, 0, n);
          }};
}

}  // namespace ipex_quant::kernels
