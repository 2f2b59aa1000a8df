// AVX2 embedding lookups.
#include "kernels/embedding/embedding_body.h"

namespace ipex_quant::kernels {

void embedding_avx2(const EmbeddingArgs& args) { embedding_body(args); }

void embedding_bag_avx2(const EmbeddingBagArgs& args) { embedding_bag_body(args); }

}  // namespace ipex_quant::kernels
