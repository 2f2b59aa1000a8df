/// \file
/// What a dynamic linear asks of an ISA beside the product: the finishing of the int32 sums.
#pragma once

#include <cstdint>

#include "kernels/epilogue_plan.h"
#include "kernels/isa.h"

namespace ipex_quant::kernels {

/// y = fma((float)(acc - zero_point[row] * sums[n]), scale[row] * w_scale[n], bias[n]), then the
/// epilogue. Arrays per column begin at the first column.
struct DynamicFinishArgs {
  const int32_t* acc;             ///< [rows][acc_stride], room for whole vectors
  int64_t acc_stride;             ///< elements
  const float* row_scale;         ///< [rows], or one for all when param_stride is 0
  const int32_t* row_zero_point;  ///< likewise
  int64_t param_stride;           ///< 1 or 0
  int64_t rows;
  int64_t columns;      ///< at most kEpilogueRow; per-column arrays have room for whole vectors
  const int32_t* sums;  ///< sum over k of the weights
  const float* scale;
  const float* bias;
  const EpiloguePlan* epilogue;
  void* dst;           ///< element (first_row, first_column): uint8 or float by the epilogue
  int64_t dst_stride;  ///< elements
  int64_t first_row;   ///< position for the epilogue's tensors
  int64_t first_column;
};

}  // namespace ipex_quant::kernels
