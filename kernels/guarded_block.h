/// \file
/// Memory between guard words, for builds with AddressSanitizer.
///
/// The checker sees no masked store: what one writes beside a block is found when the block goes.
/// For all other accesses the guard words are poisoned.
#pragma once

#include <cstddef>

namespace ipex_quant::kernels {

/// Memory aligned to 64 with guard words directly in front of and behind it.
/// \throws std::bad_alloc
void* allocate_guarded(std::size_t bytes);

/// Ends the process with a message when a guard word was written.
/// \param p  from allocate_guarded()
void free_guarded(void* p);

}  // namespace ipex_quant::kernels
