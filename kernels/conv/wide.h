/// \file
/// Convolutions of few channels: output pixels that stand side by side are columns of one product.
///
/// A row of the product is a vector of kGemmColumns results at least; 3 channels would leave 13
/// lanes idle. Where a row is 5 pixels of 3 channels, it reads the taps of all of them (7 pixels of
/// a line for a kernel of 3), and the weights are zero where a pixel does not meet a tap. The
/// results of the row are adjacent in memory, as its columns are.
#pragma once

#include <vector>

#include "kernels/conv/conv.h"

namespace ipex_quant::kernels {

/// The width of a convolution as groups of pixels: output `together` * j + p reads input
/// j * stride + offset[i] by tap[p][i] of the kernel.
struct WideAxis {
  int64_t together = 1;  ///< 1: it does not pay
  int64_t stride = 1;
  std::vector<int64_t> offset;            ///< ascending
  std::vector<std::vector<int64_t>> tap;  ///< [together][offset.size()], -1: none
};

/// \param geometry  with one group and ConvMode::kDirect
WideAxis choose_wide(const ConvGeometry& geometry);

/// Output columns that wide phases compute, from 0 on; the others are left to the plain ones.
int64_t wide_columns(const ConvCall& call);

}  // namespace ipex_quant::kernels
