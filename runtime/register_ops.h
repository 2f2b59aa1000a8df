/// \file
/// Hooks through which each packed class registers itself before the schemas that mention it.
#pragma once

#include <torch/library.h>

namespace ipex_quant::runtime {

// Each is defined in runtime/packed_<name>.cpp (attention, matmul, binary and embedding: in
// their op file) and does nothing but m.class_<...>("Packed...") with its pickle functions.
void register_packed_attention(torch::Library& m);
void register_packed_dynamic_linear(torch::Library& m);
void register_packed_gru(torch::Library& m);
void register_packed_linear(torch::Library& m);
void register_packed_conv(torch::Library& m);
void register_packed_matmul(torch::Library& m);
void register_packed_binary(torch::Library& m);
void register_packed_embedding(torch::Library& m);
void register_packed_lstm(torch::Library& m);
void register_packed_rnn(torch::Library& m);

}  // namespace ipex_quant::runtime
