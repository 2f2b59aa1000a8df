/// \file
/// Int8 weights of a recurrent cell's gates, packed so that one tile holds all gates of 16 units.
///
/// A row of torch's weight (gates stacked: i,f,g,o of an LSTM, r,z,n of a GRU) is a column here:
///
///     data                 [unit / 16][k / 4][gate][unit % 16][k % 4]
///     sums, scales, bias   [unit / 16][gate][unit % 16]
///
/// So the accumulators of one tile are the pre-activations of 16 whole units: the cell update runs
/// on registers, and a step reads the matrix as one stream. Units are padded to 16 and k to 4 with
/// zeros; a padded unit has scale 0 and bias 0, which keeps its state at exactly 0.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/aligned.h"

namespace ipex_quant::kernels {

constexpr int64_t kUnitBlock = 16;  ///< units of one tile

/// One packed matrix [gates * units][k].
struct GateMatrix {
  int64_t gates = 0;
  int64_t units = 0;
  int64_t k = 0;
  AlignedVector<int8_t> data;
  std::vector<int32_t> sums;  ///< sum over k of each column, for the zero point

  int64_t blocks() const { return (units + kUnitBlock - 1) / kUnitBlock; }
  int64_t k4() const { return (k + 3) / 4; }
  int64_t columns() const { return blocks() * gates * kUnitBlock; }
};

/// Packs columns [k_begin, k_begin + k) of `weight` (int8 [gates * units][row_stride], row major).
/// k <= 65536 keeps the sums in int32.
GateMatrix pack_gate_matrix(const int8_t* weight, int64_t row_stride, int64_t k_begin, int64_t k,
                            int64_t gates, int64_t units);

/// Brings one float per weight row (gates * units of them) into the order of GateMatrix::sums,
/// padded with 0.
std::vector<float> pack_gate_vector(const std::vector<float>& values, int64_t gates, int64_t units);

}  // namespace ipex_quant::kernels
