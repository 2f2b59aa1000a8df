// Recurrent kernels for avx512vnni.
#define IQ_DOT_VNNI 1
#include "kernels/recurrent/cells.h"
#include "kernels/recurrent/rows.h"

namespace ipex_quant::kernels {

RecurrentKernels recurrent_kernels_avx512vnni() {
  return {nullptr,        kNoFeature,    kMaxRows, project<4>,   project<3>,
          step<LstmCell>, step<GruCell>, emit,     quantize_rows};
}

}  // namespace ipex_quant::kernels
