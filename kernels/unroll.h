/// \file
/// Loops over register arrays, unrolled by the language and not by the optimiser.
///
/// One index that is not a constant when the compiler splits arrays into scalars puts the whole
/// array on the stack. `#pragma GCC unroll` acts too late for that in nested loops.
#pragma once

#define IQ_INLINE __attribute__((always_inline))

namespace ipex_quant::kernels {
namespace {

template <int I>
struct Index {
  static constexpr int value = I;
  constexpr operator int() const { return I; }
};

/// Calls f(Index<0>()), ..., f(Index<N - 1>()). `f` should be marked IQ_INLINE.
template <int N, int I = 0, class F>
inline IQ_INLINE void unroll(const F& f) {
  if constexpr (I < N) {
    f(Index<I>());
    unroll<N, I + 1>(f);
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
