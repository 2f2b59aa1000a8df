// AVX2 quantize, quantize_planes and dequantize.
#include "kernels/eltwise/eltwise_body.h"

namespace ipex_quant::kernels {

void quantize_avx2(const QuantizeArgs& args) { quantize_body(args); }

void quantize_planes_avx2(const QuantizePlanesArgs& args) { quantize_planes_body(args); }

void dequantize_avx2(const DequantizeArgs& args) { dequantize_body(args); }

}  // namespace ipex_quant::kernels
