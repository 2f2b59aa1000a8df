// The rows of anchors, one per int8 kernel.
#include "passes/fusion/anchors.h"

#include <algorithm>

#include "passes/ir.h"
#include "passes/normalize/quantized_values.h"
#include "passes/quant/capability.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

/// The int8 tensor behind a dequantized value, with its qparams as graph values.
struct Source {
  Value* q;
  Value* scale;
  Value* zero_point;
};

Source source_of(const Value* value) {
  const Node* node = value->node();
  return {const_cast<Value*>(node->input(0)), const_cast<Value*>(node->input(1)),
          const_cast<Value*>(node->input(2))};
}

bool is_dequantized(const Value* value) {
  return made_by(value, {"ipex_quant::dequantize"}) && constant_of(value->node()->input(1)) &&
         constant_of(value->node()->input(2));
}

bool is_dequantized_weight(const Value* value) {
  return made_by(value, {"ipex_quant::dequantize_weight"}) && constant_of(value->node()->input(1));
}

struct Emission {
  Graph& graph;
  Node* node;
  const std::string& epilogue;
  const std::vector<Value*>& others;
  const Node* quantize;

  Value* constant(const c10::IValue& value) const { return insert_constant(graph, value); }
  Value* call(const char* op, const std::vector<Value*>& inputs) const {
    return insert_call(graph, op, inputs);
  }
  Value* list(const c10::TypePtr& type, const std::vector<Value*>& values) const {
    return graph.insertNode(graph.createList(type, values))->output();
  }
  Value* tensors(const std::vector<Value*>& values) const {
    return list(c10::TensorType::get(), values);
  }
  Value* text() const { return constant(epilogue); }
  Value* out_scale() const { return constant(constant_of(quantize->input(1)).value()); }
  Value* out_zero_point() const { return constant(constant_of(quantize->input(2)).value()); }
};

/// A list argument with one entry per spatial dimension.
std::vector<std::int64_t> spatial(const Node* node, const char* name, std::size_t nd) {
  const Value* value = argument(node, name);
  auto list = constant_ints(value);
  if (!list) list = std::vector<std::int64_t>{constant_int(value).value()};
  if (list->size() == 1) list->resize(nd, (*list)[0]);
  return *list;
}

/// A pad with the zero point in front of a conv, as the conv's own padding: begins, then ends.
std::optional<std::vector<std::int64_t>> pad_of(const Value* q, std::int64_t zero_point,
                                                std::size_t nd) {
  const Node* pad = q->node();
  const bool named = is_op(pad, {"aten::pad"});
  if (!named && !is_op(pad, {"aten::constant_pad_nd"})) return std::nullopt;
  if (named && constant_string(pad->input(2)) != "constant") return std::nullopt;
  const auto fill = constant_number(pad->input(named ? 3 : 2));
  const auto sizes = constant_ints(pad->input(1));
  if (!fill || *fill != static_cast<double>(zero_point) || !sizes) return std::nullopt;
  std::vector<std::int64_t> begins_ends(2 * nd, 0);
  for (std::size_t i = 0; i < sizes->size(); ++i) {
    const std::size_t dim = i / 2;  // counted from the last
    if ((*sizes)[i] < 0) return std::nullopt;
    if (dim >= nd) {
      if ((*sizes)[i] != 0) return std::nullopt;
      continue;
    }
    begins_ends[(i % 2) * nd + nd - 1 - dim] = (*sizes)[i];
  }
  return begins_ends;
}

Fused emit_conv(const Emission& e) {
  Source x = source_of(e.node->input(0));
  const Source w = source_of(e.node->input(1));
  const bool transposed = is_transposed_conv(e.node);
  const std::string name = e.node->kind().toUnqualString();
  const auto nd = static_cast<std::size_t>(name[name.size() - 2] - '0');
  const std::int64_t groups = constant_int(argument(e.node, "groups")).value();
  std::vector<std::int64_t> padding = spatial(e.node, "padding", nd);
  std::vector<std::int64_t> output_padding(nd, 0);
  Value* scales = w.scale;
  std::vector<Node*> folded;
  if (transposed) {
    output_padding = spatial(e.node, "output_padding", nd);
    // The weight has one scale per output channel of a group; the kernel wants them for all groups.
    const at::Tensor of_group = constant_tensor(scales).value();
    if (groups > 1 && of_group.numel() > 1) scales = e.constant(of_group.repeat({groups}));
  } else if (const auto pad = pad_of(x.q, constant_int(x.zero_point).value(), nd)) {
    std::vector<std::int64_t> both = *pad;
    for (std::size_t i = 0; i < 2 * nd; ++i) both[i] += padding[i % nd];
    padding = both;
    folded.push_back(x.q->node());
    x.q = x.q->node()->input(0);
  }
  Value* packed = e.call(
      "ipex_quant::conv_prepack",
      {w.q, scales, e.node->input(kBiasIndex), e.constant(spatial(e.node, "stride", nd)),
       e.constant(padding), e.constant(spatial(e.node, "dilation", nd)), e.constant(output_padding),
       e.constant(groups), e.constant(transposed), x.scale, x.zero_point, e.text()});
  Value* y = e.call("ipex_quant::conv", {x.q, packed, e.tensors(e.others)});
  inherit(y->node(), {e.node});
  for (Node* pad : folded) add_ids(y->node(), ids_of(pad));
  return {y, {}};
}

Fused emit_linear(const Emission& e) {
  const Source w = source_of(e.node->input(1));
  Value* input = e.node->input(0);
  if (!is_dequantized(input)) {  // the kernel quantizes its input
    const bool whole =
        e.node->hasAttribute(run_time_attr()) && e.node->i(run_time_attr()) == kScalePerTensor;
    Value* packed = e.call("ipex_quant::linear_dynamic_prepack",
                           {w.q, w.scale, e.node->input(kBiasIndex), e.constant(!whole), e.text()});
    return {e.call("ipex_quant::linear_dynamic", {input, packed, e.tensors(e.others)}), {}};
  }
  const Source x = source_of(input);
  Value* packed = e.call("ipex_quant::linear_prepack", {w.q, w.scale, e.node->input(kBiasIndex),
                                                        x.scale, x.zero_point, e.text()});
  return {e.call("ipex_quant::linear", {x.q, packed, e.tensors(e.others)}), {}};
}

Fused emit_matmul(const Emission& e) {
  const Source a = source_of(e.node->input(0));
  const Source b = source_of(e.node->input(1));
  Value* packed = e.call("ipex_quant::matmul_prepack",
                         {a.scale, a.zero_point, b.scale, b.zero_point, e.text()});
  return {e.call("ipex_quant::matmul", {a.q, b.q, packed, e.tensors(e.others)}), {}};
}

Fused emit_binary(const Emission& e) {
  const Source a = source_of(e.node->input(0));
  const Source b = source_of(e.node->input(1));
  const std::string op = e.node->kind().toUnqualString();
  Value* packed = e.call("ipex_quant::binary_prepack",
                         {e.constant(op), a.scale, a.zero_point, b.scale, b.zero_point, e.text()});
  return {e.call("ipex_quant::binary", {a.q, b.q, packed, e.tensors(e.others)}), {}};
}

Fused emit_cat(const Emission& e) {
  std::vector<Value*> tensors;
  std::vector<double> scales;
  std::vector<std::int64_t> zero_points;
  for (const Value* input : e.node->input(0)->node()->inputs()) {
    const Source source = source_of(input);
    tensors.push_back(source.q);
    scales.push_back(constant_number(source.scale).value());
    zero_points.push_back(constant_int(source.zero_point).value());
  }
  return {
      e.call("ipex_quant::cat", {e.tensors(tensors), e.constant(scales), e.constant(zero_points),
                                 e.node->input(1), e.out_scale(), e.out_zero_point()}),
      {}};
}

Fused emit_pool(const Emission& e) {
  const Source x = source_of(e.node->input(0));
  std::vector<Value*> inputs = e.node->inputs().vec();
  inputs[0] = x.q;
  const char* op = "ipex_quant::adaptive_avg_pool";
  if (is_op(e.node, {"aten::mean"})) {
    op = "ipex_quant::mean";
    inputs.pop_back();  // dtype: None
  } else if (is_op(e.node, {"aten::avg_pool1d", "aten::avg_pool2d", "aten::avg_pool3d"})) {
    op = "ipex_quant::avg_pool";
    if (is_op(e.node, {"aten::avg_pool1d"})) inputs.push_back(e.constant(c10::IValue()));
  }
  for (Value* value : {x.scale, x.zero_point, e.out_scale(), e.out_zero_point()}) {
    inputs.push_back(value);
  }
  return {e.call(op, inputs), {}};
}

/// Whether the value is made anew as float32 zeros, from which the kernels start by themselves.
bool is_zero_state(const Value* value) {
  return made_by(value, {"aten::zeros"}) &&
         constant_int(argument(value->node(), "dtype")) == static_cast<int>(at::kFloat);
}

/// The initial states as tensors: a gru has one, an lstm a list of two.
std::vector<Value*> states_of(const Emission& e) {
  Value* states = argument(e.node, "hx");
  if (!is_op(e.node, {"aten::lstm"})) return {states};
  std::vector<Value*> values;
  if (const auto constants = constant_of(states)) {
    for (const at::Tensor& state : constants->toTensorVector()) values.push_back(e.constant(state));
    return values;
  }
  return states->node()->inputs().vec();
}

Fused emit_recurrent(const Emission& e) {
  const bool is_lstm = is_op(e.node, {"aten::lstm"});
  std::vector<Value*> weights;
  std::vector<Value*> scales;
  std::vector<Value*> biases;
  for (Value* value : e.node->input(recurrent_weights_index(e.node))->node()->inputs()) {
    if (is_dequantized_weight(value)) {
      weights.push_back(source_of(value).q);
      scales.push_back(source_of(value).scale);
    } else {
      biases.push_back(value);
    }
  }
  Value* batch_sizes = argument(e.node, "batch_sizes");
  Value* x = e.node->input(0);
  Value* scale = nullptr;
  Value* zero_point = nullptr;
  if (is_dequantized(x)) {
    const Source source = source_of(x);
    x = source.q;
    scale = source.scale;
    zero_point = source.zero_point;
  } else {
    scale = e.constant(0.0);  // the kernel quantizes its input per row
    zero_point = e.constant(std::int64_t{0});
  }
  Value* batch_first = argument(e.node, "batch_first");
  Value* packed = e.call(is_lstm ? "ipex_quant::lstm_prepack" : "ipex_quant::gru_prepack",
                         {e.tensors(weights), e.tensors(scales), e.tensors(biases),
                          argument(e.node, "num_layers"), argument(e.node, "bidirectional"),
                          batch_first != nullptr ? batch_first : e.constant(false),
                          argument(e.node, "has_biases"), scale, zero_point, e.text()});
  std::vector<Value*> inputs = {x};
  std::string op = is_lstm ? "ipex_quant::lstm" : "ipex_quant::gru";
  std::vector<Value*> states = states_of(e);
  if (batch_sizes != nullptr) {
    inputs.push_back(batch_sizes);
    op += "_sequences";
  } else if (std::all_of(states.begin(), states.end(), is_zero_state)) {
    for (Value*& state : states) state = e.constant(c10::IValue());
  }
  inputs.insert(inputs.end(), states.begin(), states.end());
  inputs.push_back(packed);
  Value* y = e.call(op.c_str(), inputs);
  // A call with several results comes back as a tuple or as its unpacked values.
  Node* run = y->node();
  if (run->kind() == c10::prim::TupleConstruct) run = y->node()->input(0)->node();
  return {run->output(0), run->outputs().slice(1).vec()};
}

Fused emit_embedding(const Emission& e) {
  const Source w = source_of(e.node->input(0));
  Value* packed = e.call("ipex_quant::embedding_prepack", {w.q, w.scale, e.text()});
  return {e.call("ipex_quant::embedding", {e.node->input(1), packed}), {}};
}

/// embedding_bag(weight, indices, offsets, scale_grad_by_freq, mode, sparse, per_sample_weights,
///               include_last_offset, padding_idx?)
Fused emit_embedding_bag(const Emission& e) {
  const Source w = source_of(e.node->input(0));
  const auto inputs = e.node->inputs();
  Value* packed = e.call("ipex_quant::embedding_prepack", {w.q, w.scale, e.text()});
  const bool padded = inputs.size() > 8 && !is_none(inputs[8]);
  Value* padding = padded ? inputs[8] : e.constant(std::int64_t{-1});
  return {e.call("ipex_quant::embedding_bag",
                 {inputs[1], inputs[2], packed, inputs[4], inputs[6], inputs[7], padding}),
          {}};
}

using Emit = Fused (*)(const Emission&);

struct Row {
  Kernel kernel;
  bool needs_quantize;  ///< the kernel has no float result
  bool reads_weight;    ///< an operand is a weight behind dequantize_weight
  Emit emit;
  const char* becomes;  ///< the operators, for docs
};

// clang-format off
constexpr Row kRows[] = {
    {Kernel::kConv,         false, true,  emit_conv,          "conv"},
    {Kernel::kLinear,       false, true,  emit_linear,        "linear, linear_dynamic"},
    {Kernel::kMatmul,       false, false, emit_matmul,        "matmul"},
    {Kernel::kRecurrent,    false, true,  emit_recurrent,     "lstm, gru"},
    {Kernel::kEmbedding,    false, true,  emit_embedding,     "embedding"},
    {Kernel::kEmbeddingBag, false, true,  emit_embedding_bag, "embedding_bag"},
    {Kernel::kBinary,       false, false, emit_binary,        "binary"},
    {Kernel::kCat,          true,  false, emit_cat,           "cat"},
    {Kernel::kPool,         true,  false, emit_pool,          "avg_pool, adaptive_avg_pool, mean"},
};
// clang-format on

const Row* row_of(const Node* node) {
  const Kernel kernel = kernel_of(node);
  const auto row = std::find_if(std::begin(kRows), std::end(kRows),
                                [kernel](const Row& r) { return r.kernel == kernel; });
  return row == std::end(kRows) ? nullptr : row;
}

/// Weights stand behind dequantize_weight now, which refusal_of does not look through.
std::string refuse_weights(const Node* node) {
  if (kernel_of(node) != Kernel::kRecurrent) {
    if (!is_dequantized_weight(weight_of(node))) return "its weight is float";
    const Node* weight = weight_of(node)->node();
    const bool fits = constant_tensor(weight->input(1)).value().numel() == 1 ||
                      constant_int(weight->input(2)) == weight_axis(node);
    return fits ? "" : "the scales of its weight run along another dimension";
  }
  const Value* list = node->input(recurrent_weights_index(node));
  if (!made_by(list, {"prim::ListConstruct"})) return "its weights are float";
  for (const Value* value : list->node()->inputs()) {
    if (!is_dequantized_weight(value) && constant_tensor(value).value_or(at::Tensor()).dim() != 1) {
      return "its weights are float";
    }
  }
  return "";
}

/// A weight whose codes the traced graph gave.
bool has_fixed_weight(const Node* node) {
  if (kernel_of(node) != Kernel::kRecurrent) {
    return weight_of(node)->node()->hasAttribute(fixed_attr());
  }
  const auto weights = node->input(recurrent_weights_index(node))->node()->inputs();
  return std::any_of(weights.begin(), weights.end(),
                     [](const Value* value) { return value->node()->hasAttribute(fixed_attr()); });
}

}  // namespace

std::string refuse_anchor(Node* node) {
  const Row* row = row_of(node);
  if (row == nullptr) return "no int8 kernel";
  if (row->reads_weight) {
    const std::string reason = refuse_weights(node);
    if (!reason.empty()) return reason;
  } else {
    const std::string reason = refusal_of(node);
    if (!reason.empty()) return reason;
  }
  if (quantizes_at_run_time(row->kernel)) {
    const bool reads_float =
        !is_dequantized(node->input(0)) && !node->hasAttribute(run_time_attr());
    return has_fixed_weight(node) && reads_float ? "the traced graph quantizes its weight alone"
                                                 : "";
  }
  for (const Operand& operand : activations_of(node)) {
    if (!is_dequantized(operand.reader->input(operand.index))) return "an operand is float";
  }
  return "";
}

Fused emit_anchor(Graph& graph, Node* node, const std::string& epilogue,
                  const std::vector<Value*>& others, const Node* quantize) {
  const Fused fused = row_of(node)->emit({graph, node, epilogue, others, quantize});
  inherit(fused.output->node(), {node});
  return fused;
}

std::vector<AnchorRow> anchor_rows() {
  std::vector<AnchorRow> rows;
  for (const Row& row : kRows) rows.push_back({row.kernel, row.needs_quantize, row.becomes});
  return rows;
}

bool needs_quantize(const Node* node) {
  const Row* row = row_of(node);
  return row != nullptr && row->needs_quantize;
}

}  // namespace ipex_quant::passes
