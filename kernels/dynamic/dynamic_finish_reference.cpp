// The finishing of a dynamic linear for reference.
#include "kernels/dynamic/finish_body.h"

namespace ipex_quant::kernels {

void dynamic_finish_reference(const DynamicFinishArgs& args) { dynamic_finish_body(args); }

}  // namespace ipex_quant::kernels
