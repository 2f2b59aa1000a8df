// Portable softmax, layer norm and group norm.
#include "kernels/norm/group_norm_body.h"
#include "kernels/norm/norm_body.h"

namespace ipex_quant::kernels {

void softmax_reference(const SoftmaxArgs& args) { softmax_body(args); }

void layer_norm_reference(const LayerNormArgs& args) { layer_norm_body(args); }

void column_sums_reference(const ColumnSumsArgs& args) { column_sums_body(args); }

void channel_norm_reference(const ChannelNormArgs& args) { channel_norm_body(args); }

}  // namespace ipex_quant::kernels
