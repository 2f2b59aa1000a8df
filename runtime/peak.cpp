// The peaks of this CPU, for the benchmarks: they reach them by their names in the library. All are
// of one thread, the best of 100 ms, under the cap of the ISA.
#include <cstdint>

#include "ipex_quant/export.h"
#include "kernels/peak/peak.h"

namespace {
constexpr double kMilliseconds = 100;
}

/// 1e9 int8 multiply-adds per second.
extern "C" IPEX_QUANT_API double ipex_quant_peak_gmacs() {
  using namespace ipex_quant::kernels;
  return measure_peak(active_features(), kMilliseconds);
}

/// 1e9 float32 multiply-adds per second.
extern "C" IPEX_QUANT_API double ipex_quant_float_peak_gmacs() {
  using namespace ipex_quant::kernels;
  return measure_float_peak(active_features(), kMilliseconds);
}

/// 1e9 bytes per second, reading `bytes` again and again.
extern "C" IPEX_QUANT_API double ipex_quant_read_rate(std::uint64_t bytes) {
  using namespace ipex_quant::kernels;
  return measure_read(active_features(), static_cast<std::size_t>(bytes), kMilliseconds);
}
