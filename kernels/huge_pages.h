/// \file
/// Memory on pages of 2 MiB: a large table read at random misses the TLB less often.
#pragma once

#include <cstddef>

namespace ipex_quant::kernels {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

/// Wishes for huge pages below the whole ones of [begin, begin + bytes), mapped but not yet used.
/// A system without them leaves the pages small.
void wish_huge_pages(void* begin, std::size_t bytes);

/// Moves memory that is in use to huge pages, its values kept; some 1 ms per MiB. Memory that
/// cannot be moved (a file, a system older than Linux 6.1) stays as it is.
void move_to_huge_pages(const void* begin, std::size_t bytes);

}  // namespace ipex_quant::kernels
