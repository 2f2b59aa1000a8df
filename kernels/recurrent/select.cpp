// Picks the recurrent kernels of an ISA from table.inc.
#include <cstdlib>

#include "kernels/recurrent/kernels.h"

namespace ipex_quant::kernels {

#define IQ_RECURRENT(suffix, needs) RecurrentKernels recurrent_kernels_##suffix();
#include "kernels/recurrent/table.inc"
#undef IQ_RECURRENT

const RecurrentKernels& select_recurrent_kernels(Features features) {
#define IQ_RECURRENT(suffix, features_needed)                                                      \
  if (covers(features, features_needed)) {                                                         \
    static const RecurrentKernels row = [] {                                                       \
      RecurrentKernels kernels = recurrent_kernels_##suffix();                                     \
      kernels.name = #suffix;                                                                      \
      kernels.needs = features_needed;                                                             \
      return kernels;                                                                              \
    }();                                                                                           \
    return row;                                                                                    \
  }
#include "kernels/recurrent/table.inc"
#undef IQ_RECURRENT
  std::abort();  // the reference row needs nothing
}

}  // namespace ipex_quant::kernels
