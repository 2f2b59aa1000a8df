// The finishing of a dynamic linear for avx2.
#include "kernels/dynamic/finish_body.h"

namespace ipex_quant::kernels {

void dynamic_finish_avx2(const DynamicFinishArgs& args) { dynamic_finish_body(args); }

}  // namespace ipex_quant::kernels
