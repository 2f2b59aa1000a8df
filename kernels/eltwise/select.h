/// \file
/// Picks the elementwise kernel of an op, by the type of its arguments, from
/// kernels/eltwise/table.inc.
#pragma once

#include <type_traits>

#include "kernels/eltwise/binary.h"
#include "kernels/eltwise/eltwise.h"

namespace ipex_quant::kernels {

#define IQ_ELTWISE(op, function, needs) void function(const op##Args& args);
#include "kernels/eltwise/table.inc"
#undef IQ_ELTWISE

/// First row for `Args` that `features` cover.
template <class Args>
auto select_eltwise(Features features) -> void (*)(const Args&) {
#define IQ_ELTWISE(op, function, needs)                                                            \
  if constexpr (std::is_same_v<Args, op##Args>) {                                                  \
    if (covers(features, needs)) return function;                                                  \
  }
#include "kernels/eltwise/table.inc"
#undef IQ_ELTWISE
  return nullptr;  // not reached: the last row of each op needs nothing
}

}  // namespace ipex_quant::kernels
