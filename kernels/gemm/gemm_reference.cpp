// The product in portable C++.
#include "kernels/gemm/tile_template.h"

namespace ipex_quant::kernels {
namespace {

struct DotScalar {
  using A = const uint8_t*;
  using B = const int8_t*;
  static A load_a(const uint8_t* p) { return p; }
  static B load_b(const int8_t* p) { return p; }
  static void dot(I32& acc, A a, B b) {
    for (int i = 0; i < 4; ++i) acc = add(acc, I32{static_cast<int32_t>(a[i]) * b[i]});
  }
};

}  // namespace

void gemm_u8s8s32_1x16c4_reference(const GemmTile& tile) {
  for (int first = 0; first < tile.width; first += 16) {
    gemm_rows<DotScalar, 1, 16>(tile, first);
  }
}

}  // namespace ipex_quant::kernels
