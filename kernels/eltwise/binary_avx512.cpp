// AVX-512 add, sub and mul of uint8 operands.
#include "kernels/eltwise/binary_body.h"

namespace ipex_quant::kernels {

void binary_avx512(const BinaryArgs& args) { binary_body(args); }

}  // namespace ipex_quant::kernels
