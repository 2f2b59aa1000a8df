/// \file
/// Picks the norm kernel of an op, by the type of its arguments, from kernels/norm/table.inc.
#pragma once

#include <type_traits>

#include "kernels/norm/group_norm.h"
#include "kernels/norm/norm.h"

namespace ipex_quant::kernels {

#define IQ_NORM(op, function, needs) void function(const op##Args& args);
#include "kernels/norm/table.inc"
#undef IQ_NORM

/// First row for `Args` that `features` cover.
template <class Args>
auto select_norm(Features features) -> void (*)(const Args&) {
#define IQ_NORM(op, function, needs)                                                               \
  if constexpr (std::is_same_v<Args, op##Args>) {                                                  \
    if (covers(features, needs)) return function;                                                  \
  }
#include "kernels/norm/table.inc"
#undef IQ_NORM
  return nullptr;  // not reached: the last row of each op needs nothing
}

}  // namespace ipex_quant::kernels
