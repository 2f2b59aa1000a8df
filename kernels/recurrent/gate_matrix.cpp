// Packing of gate weights.
#include "kernels/recurrent/gate_matrix.h"

namespace ipex_quant::kernels {

GateMatrix pack_gate_matrix(const int8_t* weight, int64_t row_stride, int64_t k_begin, int64_t k,
                            int64_t gates, int64_t units) {
  GateMatrix packed;
  packed.gates = gates;
  packed.units = units;
  packed.k = k;
  const int64_t k4 = packed.k4();
  packed.data.assign(packed.columns() * k4 * 4, 0);
  packed.sums.assign(packed.columns(), 0);
  for (int64_t gate = 0; gate < gates; ++gate) {
    for (int64_t unit = 0; unit < units; ++unit) {
      const int64_t row = gate * units + unit;
      const int8_t* src = weight + row * row_stride + k_begin;
      const int64_t block = unit / kUnitBlock;
      const int64_t lane = unit % kUnitBlock;
      int8_t* dst = packed.data.data() + block * k4 * gates * kUnitBlock * 4;
      int32_t sum = 0;
      for (int64_t i = 0; i < k; ++i) {
        dst[((i / 4 * gates + gate) * kUnitBlock + lane) * 4 + i % 4] = src[i];
        sum += src[i];
      }
      const int64_t column = (block * gates + gate) * kUnitBlock + lane;
      packed.sums[column] = sum;
    }
  }
  return packed;
}

std::vector<float> pack_gate_vector(const std::vector<float>& values, int64_t gates,
                                    int64_t units) {
  const int64_t blocks = (units + kUnitBlock - 1) / kUnitBlock;
  std::vector<float> packed(blocks * gates * kUnitBlock, 0.0f);
  for (int64_t gate = 0; gate < gates; ++gate) {
    for (int64_t unit = 0; unit < units; ++unit) {
      packed[(unit / kUnitBlock * gates + gate) * kUnitBlock + unit % kUnitBlock] =
          values[gate * units + unit];
    }
  }
  return packed;
}

}  // namespace ipex_quant::kernels
