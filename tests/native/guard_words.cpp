// `guard_words N` writes byte N of a block of 100 bytes without the checks of AddressSanitizer, as
// a masked store does: beside the block the guard words must show it.
#include <cstdint>
#include <cstdlib>

#include "kernels/aligned.h"

namespace {

__attribute__((noinline, no_sanitize("address"))) void write_unseen(uint8_t* p) { *p = 0; }

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  void* block = ipex_quant::kernels::allocate_aligned(100);
  write_unseen(static_cast<uint8_t*>(block) + std::atol(arguments[1]));
  ipex_quant::kernels::free_aligned(block, 100);
  return 0;
}
