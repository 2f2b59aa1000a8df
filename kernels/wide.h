/// \file
/// Several vectors as one: each operation runs on all of them before the next one starts.
///
/// A long chain of dependent operations leaves an execution unit idle for most of its latency, and
/// a CPU does not look far enough ahead to fill the gap with the next vector's chain. Functions
/// of vmath.h that are templates take these types too. Include it from ISA files only (see simd.h).
#pragma once

#include "kernels/simd.h"
#include "kernels/unroll.h"

namespace ipex_quant::kernels {
namespace {

/// N vectors of floats.
template <int N>
struct F32s {
  F32 v[N];
};

/// N vectors of integers.
template <int N>
struct I32s {
  I32 v[N];
};

/// Number of vectors of a type; 0 for a single one, which stands for N equal ones.
template <class T>
constexpr int kWidth = 0;
template <int N>
constexpr int kWidth<F32s<N>> = N;
template <int N>
constexpr int kWidth<I32s<N>> = N;

template <class... T>
constexpr int kWidest = 0;
template <class T, class... Rest>
constexpr int kWidest<T, Rest...> = kWidth<T> > kWidest<Rest...> ? kWidth<T> : kWidest<Rest...>;

template <int I, class T>
inline IQ_INLINE auto part(const T& x) {
  if constexpr (kWidth<T> == 0) {
    return x;
  } else {
    return x.v[I];
  }
}

template <class T, int N>
struct Wide;
template <int N>
struct Wide<F32, N> {
  using Type = F32s<N>;
};
template <int N>
struct Wide<I32, N> {
  using Type = I32s<N>;
};

/// f of each vector of the arguments, of which one at least is wide.
template <class F, class... T>
inline IQ_INLINE auto each(const F& f, const T&... x) {
  constexpr int kN = kWidest<T...>;
  typename Wide<decltype(f(part<0>(x)...)), kN>::Type result;
  unroll<kN>([&](auto i) IQ_INLINE { result.v[i] = f(part<decltype(i)::value>(x)...); });
  return result;
}

template <int N>
struct IfWide {
  using Type = void;
};
template <>
struct IfWide<0> {};

#define IQ_WIDE(op)                                                                                \
  template <class... T, class = typename IfWide<kWidest<T...>>::Type>                              \
  inline IQ_INLINE auto op(const T&... x) {                                                        \
    return each([](auto... y) IQ_INLINE { return op(y...); }, x...);                               \
  }

IQ_WIDE(add)
IQ_WIDE(sub)
IQ_WIDE(mul)
IQ_WIDE(fma)
IQ_WIDE(min)
IQ_WIDE(max)
IQ_WIDE(bit_and)
IQ_WIDE(as_int)
IQ_WIDE(as_float)

#undef IQ_WIDE

template <int N>
inline IQ_INLINE I32s<N> shift_left(const I32s<N>& a, int n) {
  return each([n](I32 x) IQ_INLINE { return shift_left(x, n); }, a);
}

template <int N>
inline IQ_INLINE F32s<N> lookup16(const float* table, const I32s<N>& index) {
  return each([table](I32 i) IQ_INLINE { return lookup16(table, i); }, index);
}

/// f of a vector, or of each of several: for an f that takes one vector only.
template <class F, class V>
inline IQ_INLINE auto on_each(const F& f, const V& x) {
  if constexpr (kWidth<V> == 0) {
    return f(x);
  } else {
    return each(f, x);
  }
}

/// N vectors that follow each other in memory.
template <int N>
inline IQ_INLINE F32s<N> load_wide(const float* p) {
  F32s<N> x;
  unroll<N>([&](auto i) IQ_INLINE { x.v[i] = load(p + i * kLanes); });
  return x;
}
template <int N>
inline IQ_INLINE void store_wide(float* p, const F32s<N>& x) {
  unroll<N>([&](auto i) IQ_INLINE { store(p + i * kLanes, x.v[i]); });
}

}  // namespace
}  // namespace ipex_quant::kernels
