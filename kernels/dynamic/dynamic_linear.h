/// \file
/// A linear layer whose float rows are quantized at run time, in front of the int8 product.
///
///   (q, scale, zero_point) of a row: QuantizeRowsArgs of kernels/recurrent/kernels.h, one plane
///   acc  = sum_k (q[k] - zero_point) * w[n][k]                                exact in int32
///   y[n] = fma((float)acc, scale * w_scale[n], bias[n]), then the epilogue
///
/// Rows are independent: batch split, thread count and ISA never change a bit.
#pragma once

#include <cstdint>

#include "kernels/epilogue_plan.h"
#include "kernels/gemm/gemm.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace ipex_quant::kernels {

/// What shares one scale and zero point.
enum class DynamicRange { kRow, kTensor };

/// One product.
struct DynamicLinearArgs {
  const GemmWeight* weight;   ///< one group, one tap
  const float* weight_scale;  ///< [padded_n()], 0 where padded
  const float* bias;          ///< [padded_n()], 0 where padded
  const float* x;             ///< [m][k] contiguous
  int64_t m;
  int64_t k;
  DynamicRange range;
  EpiloguePlan epilogue;
  void* dst;  ///< [m][n] float or u8 by the epilogue
};

/// Bytes of scratch that dynamic_linear() needs for m rows of k values.
int64_t dynamic_linear_workspace(int64_t m, int64_t k);

/// \param workspace  64-byte aligned, dynamic_linear_workspace(m, k) bytes
void dynamic_linear(const DynamicLinearArgs& args, uint8_t* workspace, Features features,
                    const Parallel& parallel);

}  // namespace ipex_quant::kernels
