// AVX-512 embedding lookups.
#include "kernels/embedding/embedding_body.h"

namespace ipex_quant::kernels {

void embedding_avx512(const EmbeddingArgs& args) { embedding_body(args); }

void embedding_bag_avx512(const EmbeddingBagArgs& args) { embedding_bag_body(args); }

}  // namespace ipex_quant::kernels
