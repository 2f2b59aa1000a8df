/// \file
/// The most that one core can do, measured: what the benchmarks compare kernels with.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa.h"

namespace ipex_quant::kernels {

/// Each measure runs for about `milliseconds` and returns the best of several stretches, 0 where
/// there is no vector unit.

/// Runs the fastest int8 multiply-add that `features` cover, without any memory access.
/// \return 1e9 multiply-adds per second.
double measure_peak(Features features, double milliseconds);

/// The same for float32 fused multiply-adds.
double measure_float_peak(Features features, double milliseconds);

/// Reads `bytes` of memory again and again, from the first to the last.
/// \return 1e9 bytes per second, of the cache that holds so many.
double measure_read(Features features, std::size_t bytes, double milliseconds);

/// Runs `rounds` rounds of independent multiply-adds. \return how many multiply-adds that were.
int64_t peak_avx512amx(int64_t rounds);
int64_t peak_avx512vnni(int64_t rounds);
int64_t peak_avx2vnni(int64_t rounds);
int64_t peak_avx2(int64_t rounds);
int64_t float_peak_avx512(int64_t rounds);
int64_t float_peak_avx2(int64_t rounds);

/// Reads `bytes`, a multiple of kReadStep. \return something of what was read.
float read_avx512(const float* data, std::size_t bytes);
float read_avx2(const float* data, std::size_t bytes);
constexpr std::size_t kReadStep = 1024;

}  // namespace ipex_quant::kernels
