// Float multiply-adds and loads on 512-bit registers.
#include "kernels/peak/float_peak_body.h"

namespace ipex_quant::kernels {

int64_t float_peak_avx512(int64_t rounds) { return float_peak(rounds); }

float read_avx512(const float* data, std::size_t bytes) { return read(data, bytes); }

}  // namespace ipex_quant::kernels
