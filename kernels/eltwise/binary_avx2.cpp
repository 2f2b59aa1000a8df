// AVX2 add, sub and mul of uint8 operands.
#include "kernels/eltwise/binary_body.h"

namespace ipex_quant::kernels {

void binary_avx2(const BinaryArgs& args) { binary_body(args); }

}  // namespace ipex_quant::kernels
