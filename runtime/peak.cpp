// The int8 peak of this CPU, for the benchmarks: they reach it by its name in the library.
#include "kernels/gemm/peak.h"

/// 1e9 int8 multiply-adds per second of one thread, best of 100 ms, under the cap of the ISA.
extern "C" __attribute__((visibility("default"))) double ipex_quant_peak_gmacs() {
  return ipex_quant::kernels::measure_peak(ipex_quant::kernels::active_features(), 100);
}
