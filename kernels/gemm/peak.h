/// \file
/// The most multiplications per second that one core can do in int8: what the benchmarks compare
/// with.
#pragma once

#include <cstdint>

#include "kernels/isa.h"

namespace ipex_quant::kernels {

/// Runs the fastest int8 multiply-add that `features` cover, without any memory access, for about
/// `milliseconds`; best of several stretches.
/// \return 1e9 multiply-adds per second of one thread; 0 when there is no vector unit.
double measure_peak(Features features, double milliseconds);

/// Runs `rounds` rounds of independent multiply-adds. \return how many int8 multiply-adds that
/// were.
int64_t peak_avx512amx(int64_t rounds);
int64_t peak_avx512vnni(int64_t rounds);
int64_t peak_avx2vnni(int64_t rounds);
int64_t peak_avx2(int64_t rounds);

}  // namespace ipex_quant::kernels
