// AVX-512 pooling of one pixel.
#include "kernels/pool/average_pixel_body.h"
#include "kernels/pool/max_pixel_body.h"

namespace ipex_quant::kernels {

void max_pixel_avx512(const MaxPixelArgs& args) { max_pixel_body(args); }

void average_pixel_avx512(const AveragePixelArgs& args) { average_pixel_body(args); }

}  // namespace ipex_quant::kernels
