/// \file
/// The numbers that packed weights of the u8 x s8 product are laid out by.
#pragma once

#include <cstdint>

namespace ipex_quant::kernels {

/// Columns of a full block of packed weights; a narrower last block is a multiple of kGemmColumns.
constexpr int64_t kGemmBlock = 64;
constexpr int64_t kGemmColumns = 16;
/// Bytes of a row that one multiply-add instruction takes.
constexpr int64_t kGemmDepth = 4;

}  // namespace ipex_quant::kernels
