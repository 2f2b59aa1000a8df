// Float multiply-adds and loads on 256-bit registers.
#include "kernels/peak/float_peak_body.h"

namespace ipex_quant::kernels {

int64_t float_peak_avx2(int64_t rounds) { return float_peak(rounds); }

float read_avx2(const float* data, std::size_t bytes) { return read(data, bytes); }

}  // namespace ipex_quant::kernels
