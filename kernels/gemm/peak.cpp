// Times the peak loops of the ISA files.
#include "kernels/gemm/peak.h"

#include <algorithm>
#include <chrono>

namespace ipex_quant::kernels {
namespace {

using Loop = int64_t (*)(int64_t);

Loop select_loop([[maybe_unused]] Features features) {
#ifdef IPEX_QUANT_X86
  if (covers(features, kAvx512 | kAmxInt8)) return peak_avx512amx;
  if (covers(features, kAvx512 | kAvx512Vnni)) return peak_avx512vnni;
  if (covers(features, kAvx2 | kAvxVnni)) return peak_avx2vnni;
  if (covers(features, kAvx2)) return peak_avx2;
#endif
  return nullptr;
}

}  // namespace

double measure_peak(Features features, double milliseconds) {
  const Loop loop = select_loop(features);
  if (!loop) return 0;
  using Clock = std::chrono::steady_clock;
  constexpr int kStretches = 20;
  constexpr int64_t kRounds = 20000;
  double best = 0;
  const auto begin = Clock::now();
  const auto elapsed = [](Clock::time_point from) {
    return std::chrono::duration<double>(Clock::now() - from).count();
  };
  for (int i = 0; i < kStretches || elapsed(begin) * 1e3 < milliseconds; ++i) {
    const auto start = Clock::now();
    const int64_t done = loop(kRounds);
    best = std::max(best, static_cast<double>(done) / elapsed(start) * 1e-9);
  }
  return best;
}

}  // namespace ipex_quant::kernels
