// Portable 256-entry table lookup.
#include "kernels/eltwise/eltwise.h"

namespace ipex_quant::kernels {

void lut_reference(const LutArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) args.dst[i] = args.table[args.src[i]];
}

}  // namespace ipex_quant::kernels
