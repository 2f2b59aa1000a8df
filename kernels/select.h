/// \file
/// Picks the kernel of an op by the type of its arguments, from the tables of ops with one function
/// per instruction set.
#pragma once

#include <type_traits>

#include "kernels/dynamic/finish.h"
#include "kernels/eltwise/binary.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/embedding/embedding.h"
#include "kernels/isa.h"
#include "kernels/matmul/steps.h"
#include "kernels/norm/group_norm.h"
#include "kernels/norm/norm.h"
#include "kernels/pool/pixel.h"

namespace ipex_quant::kernels {

#define IQ_KERNEL(op, function, needs) void function(const op##Args& args);
#include "kernels/dynamic/table.inc"
#include "kernels/eltwise/table.inc"
#include "kernels/embedding/table.inc"
#include "kernels/matmul/table.inc"
#include "kernels/norm/table.inc"
#include "kernels/pool/table.inc"
#undef IQ_KERNEL

/// First row for `Args` that `features` cover.
template <class Args>
auto select_kernel([[maybe_unused]] Features features) -> void (*)(const Args&) {
#define IQ_KERNEL(op, function, needs)                                                             \
  if constexpr (std::is_same_v<Args, op##Args>) {                                                  \
    if (covers(features, needs)) return function;                                                  \
  }
#include "kernels/dynamic/table.inc"
#include "kernels/eltwise/table.inc"
#include "kernels/embedding/table.inc"
#include "kernels/matmul/table.inc"
#include "kernels/norm/table.inc"
#include "kernels/pool/table.inc"
#undef IQ_KERNEL
  return nullptr;  // not reached: the last row of each op needs nothing
}

}  // namespace ipex_quant::kernels
