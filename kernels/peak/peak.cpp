// Times the loops of the ISA files.
#include "kernels/peak/peak.h"

#include <algorithm>
#include <chrono>

#include "kernels/aligned.h"
#include "kernels/emulate.h"

namespace ipex_quant::kernels {
namespace {

struct Loops {
  int64_t (*multiply_adds)(int64_t);
  int64_t (*float_multiply_adds)(int64_t);
  float (*read)(const float*, std::size_t);
};

Loops select_loops([[maybe_unused]] Features features) {
  Loops loops{nullptr, nullptr, nullptr};
#ifdef IPEX_QUANT_X86
  if (covers(features, kAvx2)) loops = {peak_avx2, float_peak_avx2, read_avx2};
  if (covers(features, kAvx2 | kAvxVnni)) loops.multiply_adds = peak_avx2vnni;
  if (covers(features, kAvx512)) {
    loops.float_multiply_adds = float_peak_avx512;
    loops.read = read_avx512;
  }
  if (covers(features, kAvx512 | kAvx512Vnni)) loops.multiply_adds = peak_avx512vnni;
  if (covers(features, kAvx512 | kAmxInt8)) loops.multiply_adds = peak_avx512amx;
#endif
  return loops;
}

/// The best rate of `stretch`, which returns how much it did, in 1e9 per second.
template <class Stretch>
double best_rate(double milliseconds, const Stretch& stretch) {
  using Clock = std::chrono::steady_clock;
  constexpr int kStretches = 20;
  double best = 0;
  const auto begin = Clock::now();
  const auto elapsed = [](Clock::time_point from) {
    return std::chrono::duration<double>(Clock::now() - from).count();
  };
  for (int i = 0; i < kStretches || elapsed(begin) * 1e3 < milliseconds; ++i) {
    const auto start = Clock::now();
    const double done = static_cast<double>(stretch());
    best = std::max(best, done / elapsed(start) * 1e-9);
  }
  return best;
}

double measure_loop(int64_t (*loop)(int64_t), double milliseconds) {
  constexpr int64_t kRounds = kEmulate ? 200 : 20000;  // the rate of an emulation tells nothing
  return loop == nullptr ? 0 : best_rate(milliseconds, [loop] { return loop(kRounds); });
}

}  // namespace

double measure_peak(Features features, double milliseconds) {
  return measure_loop(select_loops(features).multiply_adds, milliseconds);
}

double measure_float_peak(Features features, double milliseconds) {
  return measure_loop(select_loops(features).float_multiply_adds, milliseconds);
}

double measure_read(Features features, std::size_t bytes, double milliseconds) {
  const auto read = select_loops(features).read;
  if (read == nullptr) return 0;
  const std::size_t whole = std::max<std::size_t>(bytes / kReadStep, 1) * kReadStep;
  const AlignedVector<float> data(whole / sizeof(float), 1.0f);
  // Long enough for the clock, and the first pass of each is from the same cache as the others.
  const std::size_t passes = std::max<std::size_t>((std::size_t{1} << 20) / whole, 1);
  volatile float used = 0;
  return best_rate(milliseconds, [&] {
    for (std::size_t i = 0; i < passes; ++i) used = used + read(data.data(), whole);
    return passes * whole;
  });
}

}  // namespace ipex_quant::kernels
