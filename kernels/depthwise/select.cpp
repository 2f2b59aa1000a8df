// The kernel table of the depthwise convolution.
#include "kernels/depthwise/block.h"

namespace ipex_quant::kernels {

const DepthwiseEntry& select_depthwise(Features features) {
#define IQ_DEPTHWISE(name, needs) {#name, name, needs},
  static constexpr DepthwiseEntry kTable[] = {
#include "kernels/depthwise/table.inc"
  };
#undef IQ_DEPTHWISE
  const DepthwiseEntry* entry = kTable;
  while (!covers(features, entry->needs)) ++entry;  // the last one needs nothing
  return *entry;
}

}  // namespace ipex_quant::kernels
