// Every operator schema of ipex_quant, in one TORCH_LIBRARY.
//
// A schema that names a packed class can only be parsed when the class is registered, so each class
// goes first (register_ops.h). Implementations stand beside the op in its own file:
//   TORCH_LIBRARY_IMPL(ipex_quant, CPU, m) { m.impl("linear", &linear); }
// An op without a tensor argument (attention_prepack, matmul_prepack, binary_prepack, mark) has no
// backend to dispatch on: it is registered with
// TORCH_LIBRARY_IMPL(ipex_quant, CompositeExplicitAutograd, m).
// m.def takes alias information from the schema, so every op here is pure, except mark.
#include "runtime/register_ops.h"

namespace ipex_quant::runtime {
namespace {

#define IQ_CLASS "__torch__.torch.classes.ipex_quant."

void define_quantize(torch::Library& m) {
  m.def("quantize(Tensor x, float scale, int zero_point) -> Tensor");
  m.def("quantize_channels_last(Tensor x, float scale, int zero_point) -> Tensor");
  m.def("dequantize(Tensor q, float scale, int zero_point) -> Tensor");
  m.def("requantize(Tensor q, float scale, int zero_point, float out_scale, int out_zero_point)"
        " -> Tensor");
  m.def("lut(Tensor q, Tensor table) -> Tensor");
  m.def("quantize_weight(Tensor w, Tensor scales, int axis) -> Tensor");
  m.def("dequantize_weight(Tensor w, Tensor scales, int axis) -> Tensor");
}

void define_linear(torch::Library& m) {
  register_packed_linear(m);
  m.def("linear_prepack(Tensor weight, Tensor weight_scale, Tensor? bias, float x_scale,"
        " int x_zero_point, str epilogue) -> " IQ_CLASS "PackedLinear");
  m.def("linear(Tensor x, " IQ_CLASS "PackedLinear packed, Tensor[] others) -> Tensor");
}

void define_dynamic_linear(torch::Library& m) {
  register_packed_dynamic_linear(m);
  m.def("linear_dynamic_prepack(Tensor weight, Tensor weight_scale, Tensor? bias, bool per_row,"
        " str epilogue) -> " IQ_CLASS "PackedDynamicLinear");
  m.def("linear_dynamic(Tensor x, " IQ_CLASS
        "PackedDynamicLinear packed, Tensor[] others) -> Tensor");
}

void define_conv(torch::Library& m) {
  register_packed_conv(m);
  m.def(
      "conv_prepack(Tensor weight, Tensor weight_scale, Tensor? bias, int[] stride, int[] padding,"
      " int[] dilation, int[] output_padding, int groups, bool transposed, float x_scale,"
      " int x_zero_point, str epilogue) -> " IQ_CLASS "PackedConv");
  m.def("conv(Tensor x, " IQ_CLASS "PackedConv packed, Tensor[] others) -> Tensor");
}

void define_attention(torch::Library& m) {
  register_packed_attention(m);
  m.def("attention_prepack(float q_scale, int q_zero_point, float k_scale, int k_zero_point,"
        " float p_scale, int p_zero_point, float v_scale, int v_zero_point, str scores,"
        " str epilogue) -> " IQ_CLASS "PackedAttention");
  m.def("attention(Tensor q, Tensor k, Tensor v, " IQ_CLASS "PackedAttention packed,"
        " Tensor[] score_tensors, Tensor[] others) -> Tensor");
}

void define_matmul(torch::Library& m) {
  register_packed_matmul(m);
  m.def("matmul_prepack(float a_scale, int a_zero_point, float b_scale, int b_zero_point,"
        " str epilogue) -> " IQ_CLASS "PackedMatmul");
  m.def("matmul(Tensor a, Tensor b, " IQ_CLASS "PackedMatmul packed, Tensor[] others) -> Tensor");
}

void define_binary(torch::Library& m) {
  register_packed_binary(m);
  m.def("binary_prepack(str op, float a_scale, int a_zero_point, float b_scale, int b_zero_point,"
        " str epilogue) -> " IQ_CLASS "PackedBinary");
  m.def("binary(Tensor a, Tensor b, " IQ_CLASS "PackedBinary packed, Tensor[] others) -> Tensor");
}

void define_pool(torch::Library& m) {
  m.def("cat(Tensor[] tensors, float[] scales, int[] zero_points, int dim, float out_scale,"
        " int out_zero_point) -> Tensor");
  m.def("max_pool(Tensor x, int[] kernel_size, int[] stride, int[] padding, int[] dilation,"
        " bool ceil_mode) -> Tensor");
  m.def("adaptive_max_pool(Tensor x, int[] output_size) -> Tensor");
  m.def("avg_pool(Tensor x, int[] kernel_size, int[] stride, int[] padding, bool ceil_mode,"
        " bool count_include_pad, int? divisor_override, float scale, int zero_point,"
        " float out_scale, int out_zero_point) -> Tensor");
  m.def("adaptive_avg_pool(Tensor x, int[] output_size, float scale, int zero_point,"
        " float out_scale, int out_zero_point) -> Tensor");
  m.def("mean(Tensor x, int[] dim, bool keepdim, float scale, int zero_point, float out_scale,"
        " int out_zero_point) -> Tensor");
}

void define_embedding(torch::Library& m) {
  register_packed_embedding(m);
  m.def("embedding_prepack(Tensor weight, Tensor weight_scale, str epilogue) -> " IQ_CLASS
        "PackedEmbedding");
  m.def("embedding(Tensor indices, " IQ_CLASS "PackedEmbedding packed) -> Tensor");
  m.def("embedding_bag(Tensor indices, Tensor? offsets, " IQ_CLASS
        "PackedEmbedding packed, int mode, Tensor? per_sample_weights, bool include_last_offset,"
        " int padding_idx) -> Tensor");
}

void define_gru(torch::Library& m) {
  register_packed_gru(m);
  m.def("gru_prepack(Tensor[] weights, Tensor[] weight_scales, Tensor[] biases, int num_layers,"
        " bool bidirectional, bool batch_first, bool has_biases, float x_scale, int x_zero_point,"
        " str epilogue) -> " IQ_CLASS "PackedGru");
  m.def("gru(Tensor x, Tensor? h0, " IQ_CLASS "PackedGru packed) -> (Tensor y, Tensor hn)");
  m.def("gru_sequences(Tensor data, Tensor batch_sizes, Tensor h0, " IQ_CLASS
        "PackedGru packed) -> (Tensor y, Tensor hn)");
}

void define_lstm(torch::Library& m) {
  register_packed_lstm(m);
  m.def("lstm_prepack(Tensor[] weights, Tensor[] weight_scales, Tensor[] biases, int num_layers,"
        " bool bidirectional, bool batch_first, bool has_biases, float x_scale, int x_zero_point,"
        " str epilogue) -> " IQ_CLASS "PackedLstm");
  m.def("lstm(Tensor x, Tensor? h0, Tensor? c0, " IQ_CLASS
        "PackedLstm packed) -> (Tensor y, Tensor hn, Tensor cn)");
  m.def("lstm_sequences(Tensor data, Tensor batch_sizes, Tensor h0, Tensor c0, " IQ_CLASS
        "PackedLstm packed) -> (Tensor y, Tensor hn, Tensor cn)");
}

void define_rnn(torch::Library& m) {
  register_packed_rnn(m);
  m.def("rnn_prepack(Tensor[] weights, Tensor[] weight_scales, Tensor[] biases, int num_layers,"
        " bool bidirectional, bool batch_first, str nonlinearity) -> " IQ_CLASS "PackedRnn");
  m.def("rnn(Tensor x, Tensor h0, " IQ_CLASS "PackedRnn packed) -> (Tensor y, Tensor hn)");
  m.def("rnn_sequences(Tensor data, Tensor batch_sizes, Tensor h0, " IQ_CLASS
        "PackedRnn packed) -> (Tensor y, Tensor hn)");
}

void define_norm(torch::Library& m) {
  m.def("softmax(Tensor x, float scale, int zero_point) -> Tensor");
  m.def("layer_norm(Tensor x, Tensor weight, Tensor bias, float eps, Tensor? factor, float scale,"
        " int zero_point) -> (Tensor y, Tensor q)");
  m.def("layer_norm_quantize(Tensor x, Tensor weight, Tensor bias, float eps, Tensor? factor,"
        " float scale, int zero_point) -> Tensor");
  m.def("group_norm(Tensor x, int groups, Tensor? weight, Tensor? bias, float eps, str epilogue)"
        " -> Tensor");
  m.def("rms_norm_quantize(Tensor x, Tensor weight, float eps, float scale, int zero_point)"
        " -> Tensor");
}

// Conservative: a call stays where it stands in the graph, though nothing uses a result of it.
void define_mark(torch::Library& m) {
  m.def(torch::schema("mark(str site) -> ()", c10::AliasAnalysisKind::CONSERVATIVE));
}

void mark(std::string_view /*site*/) {}

}  // namespace

TORCH_LIBRARY(ipex_quant, m) {
  define_attention(m);
  define_binary(m);
  define_dynamic_linear(m);
  define_embedding(m);
  define_gru(m);
  define_lstm(m);
  define_matmul(m);
  define_norm(m);
  define_pool(m);
  define_quantize(m);
  define_rnn(m);
  define_linear(m);
  define_conv(m);
  define_mark(m);
}

TORCH_LIBRARY_IMPL(ipex_quant, CompositeExplicitAutograd, m) { m.impl("mark", &mark); }

}  // namespace ipex_quant::runtime
