// Portable quantize, quantize_planes and dequantize.
#include "kernels/eltwise/eltwise_body.h"

namespace ipex_quant::kernels {

void quantize_reference(const QuantizeArgs& args) { quantize_body(args); }

void quantize_planes_reference(const QuantizePlanesArgs& args) { quantize_planes_body(args); }

void dequantize_reference(const DequantizeArgs& args) { dequantize_body(args); }

}  // namespace ipex_quant::kernels
