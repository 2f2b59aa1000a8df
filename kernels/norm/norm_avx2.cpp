// AVX2 softmax, layer norm and group norm.
#include "kernels/norm/group_norm_body.h"
#include "kernels/norm/norm_body.h"

namespace ipex_quant::kernels {

void softmax_avx2(const SoftmaxArgs& args) { softmax_body(args); }

void layer_norm_avx2(const LayerNormArgs& args) { layer_norm_body(args); }

void column_sums_avx2(const ColumnSumsArgs& args) { column_sums_body(args); }

void channel_norm_avx2(const ChannelNormArgs& args) { channel_norm_body(args); }

}  // namespace ipex_quant::kernels
