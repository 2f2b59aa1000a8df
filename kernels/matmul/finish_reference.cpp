// Portable finishing of the sums of a matmul.
#include "kernels/matmul/finish_body.h"

namespace ipex_quant::kernels {

void finish_reference(const FinishArgs& args) { finish_body(args); }

}  // namespace ipex_quant::kernels
