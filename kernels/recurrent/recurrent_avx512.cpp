// Recurrent kernels for avx512.
#include "kernels/recurrent/cells.h"
#include "kernels/recurrent/rows.h"

namespace ipex_quant::kernels {

RecurrentKernels recurrent_kernels_avx512() {
  return {nullptr,        kNoFeature,    kMaxRows, project<4>,   project<3>,
          step<LstmCell>, step<GruCell>, emit,     quantize_rows};
}

}  // namespace ipex_quant::kernels
