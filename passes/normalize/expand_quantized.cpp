/// \file
/// The rows of torch's quantized operators, and what each computes in float.
#include "passes/normalize/expand_quantized.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "passes/normalize/conv_node.h"
#include "passes/normalize/fake_quant_node.h"
#include "passes/quant/data_movement.h"

namespace ipex_quant::passes {

namespace {

struct Expansion {
  Graph& graph;
  Node* node;
  QuantizedValues& values;

  Value* constant(const c10::IValue& value) const { return insert_constant(graph, value); }
  Value* call(const char* op, const std::vector<Value*>& inputs) const {
    Value* result = insert_call(graph, op, inputs);
    inherit(result->node(), {node});
    return result;
  }
  const QuantizedTensor* tensor(std::size_t i) const { return values.find(node->input(i)); }
  Value* real(std::size_t i) const { return tensor(i)->real; }
};

/// The result of a method of a packed weight of torch.
c10::IValue ask(const c10::IValue& packed, const char* method) {
  const auto object = packed.toObject();
  torch::jit::Function* function = object->type()->findMethod(method);
  TORCH_CHECK(function != nullptr, "torch's packed weight ", object->type()->str(),
              " has no method '", method, "'");
  return (*function)({packed});
}

struct Packed {
  Value* weight;
  Value* bias;
  c10::IValue object;
};

/// Weight and bias of a constant packed weight; a 1-d convolution keeps its weight as a 2-d one.
std::optional<Packed> unpack(const Expansion& e, std::size_t input, bool one_dimension) {
  const auto object = constant_of(e.node->input(input));
  if (!object || !object->isObject()) return std::nullopt;
  const c10::IValue unpacked = ask(*object, "unpack");
  const auto& parts = unpacked.toTupleRef().elements();
  at::Tensor weight = parts.at(0).toTensor();
  if (one_dimension && weight.dim() == 4) weight = weight.squeeze(2);
  c10::IValue bias = parts.at(1);
  if (bias.isTensor() && !bias.toTensor().defined()) bias = c10::IValue();
  if (bias.isTensor()) bias = bias.toTensor().detach();
  return Packed{e.values.weight(weight, {}, e.node), e.constant(bias), *object};
}

Value* linear(const Expansion& e) {
  const auto packed = unpack(e, 1, false);
  if (!packed) return nullptr;
  return e.call("aten::linear", {e.real(0), packed->weight, packed->bias});
}

Value* conv_of(const Expansion& e, bool transposed) {
  if (e.node->inputs().size() != 4) return nullptr;  // the old overload repeats the arguments
  const std::string name = e.node->kind().toUnqualString();
  const bool one = name.find("1d") != std::string::npos;
  const auto packed = unpack(e, 1, one);
  if (!packed) return nullptr;
  const auto ints = [&](const char* method) {
    std::vector<std::int64_t> list = ask(packed->object, method).toIntVector();
    if (one) list = {list.back()};
    return list;
  };
  ConvNode conv;
  conv.input = e.real(0);
  conv.weight = packed->weight;
  conv.bias = packed->bias;
  conv.stride = ints("stride");
  conv.padding = ints("padding");
  conv.dilation = ints("dilation");
  if (transposed) conv.output_padding = ints("output_padding");
  conv.groups = ask(packed->object, "groups").toInt();
  conv.transposed = transposed;
  Node* made = insert_conv(e.graph, conv);
  inherit(made, {e.node});
  return made->output();
}

Value* conv(const Expansion& e) { return conv_of(e, false); }
Value* conv_transpose(const Expansion& e) { return conv_of(e, true); }

/// Both operands are quantized tensors, not numbers.
bool has_two_tensors(const Expansion& e) {
  return e.node->inputs().size() == 4 && e.tensor(0) != nullptr && e.tensor(1) != nullptr;
}

Value* add(const Expansion& e) {
  if (!has_two_tensors(e)) return nullptr;
  return e.call("aten::add", {e.real(0), e.real(1), e.constant(std::int64_t{1})});
}
Value* mul(const Expansion& e) {
  return has_two_tensors(e) ? e.call("aten::mul", {e.real(0), e.real(1)}) : nullptr;
}
Value* matmul(const Expansion& e) {
  return has_two_tensors(e) ? e.call("aten::matmul", {e.real(0), e.real(1)}) : nullptr;
}

/// The float values of a list of quantized tensors.
std::vector<Value*> reals_of(const Expansion& e, const Value* list) {
  std::vector<Value*> reals;
  if (!made_by(list, {"prim::ListConstruct"})) return reals;
  for (const Value* element : list->node()->inputs()) {
    const QuantizedTensor* found = e.values.find(element);
    if (found == nullptr) return {};
    reals.push_back(found->real);
  }
  return reals;
}

Value* cat(const Expansion& e) {
  const std::vector<Value*> reals = reals_of(e, e.node->input(0));
  if (reals.empty()) return nullptr;
  Node* list = e.graph.insertNode(e.graph.createList(c10::TensorType::get(), reals));
  return e.call("aten::cat", {list->output(), e.node->input(1)});
}

Value* hardswish(const Expansion& e) { return e.call("aten::hardswish", {e.real(0)}); }
Value* sigmoid(const Expansion& e) { return e.call("aten::sigmoid", {e.real(0)}); }
Value* leaky_relu(const Expansion& e) {
  return e.call("aten::leaky_relu", {e.real(0), e.node->input(1)});
}
Value* elu(const Expansion& e) {
  return e.call("aten::elu", {e.real(0), e.node->input(3), e.node->input(4), e.node->input(5)});
}
Value* layer_norm(const Expansion& e) {
  const auto inputs = e.node->inputs();
  return e.call("aten::layer_norm", {e.real(0), inputs[1], inputs[2], inputs[3], inputs[4]});
}

struct Row {
  const char* op;
  Value* (*make)(const Expansion&);  ///< the float operator, or nullptr to refuse
  bool relu;                         ///< and a relu behind it
};

// Left out: the dynamic and the embedding operators, which quantize per tensor or by rows of their
// own kind; operators with a number for a tensor, which choose other qparams; the other norms.
// clang-format off
constexpr Row kRows[] = {
    {"quantized::linear",           linear,         false},
    {"quantized::linear_relu",      linear,         true},
    {"quantized::conv1d",           conv,           false},
    {"quantized::conv1d_relu",      conv,           true},
    {"quantized::conv2d",           conv,           false},
    {"quantized::conv2d_relu",      conv,           true},
    {"quantized::conv3d",           conv,           false},
    {"quantized::conv3d_relu",      conv,           true},
    {"quantized::conv_transpose1d", conv_transpose, false},
    {"quantized::conv_transpose2d", conv_transpose, false},
    {"quantized::conv_transpose3d", conv_transpose, false},
    {"quantized::add",              add,            false},
    {"quantized::add_relu",         add,            true},
    {"quantized::mul",              mul,            false},
    {"quantized::mul_relu",         mul,            true},
    {"quantized::matmul",           matmul,         false},
    {"quantized::cat",              cat,            false},
    {"quantized::cat_relu",         cat,            true},
    {"quantized::hardswish",        hardswish,      false},
    {"quantized::sigmoid",          sigmoid,        false},
    {"quantized::leaky_relu",       leaky_relu,     false},
    {"quantized::elu",              elu,            false},
    {"quantized::layer_norm",       layer_norm,     false},
};

/// aten operators that give a quantized tensor the qparams of their input.
constexpr std::array kKeepParams = {
    "aten::relu",       "aten::relu6",      "aten::hardtanh",   "aten::clamp",
    "aten::mean",       "aten::avg_pool1d", "aten::avg_pool2d", "aten::avg_pool3d",
    "aten::adaptive_avg_pool1d", "aten::adaptive_avg_pool2d", "aten::adaptive_avg_pool3d",
    "aten::leaky_relu", "aten::gelu",       "aten::upsample_bilinear2d"};
// clang-format on

/// Number of an argument, or of the first tensor when it is None (quantized::cat).
std::optional<double> param(const Expansion& e, const char* name, double otherwise) {
  const Value* value = argument(e.node, name);
  if (value == nullptr) return std::nullopt;
  return is_none(value) ? std::optional<double>(otherwise) : constant_element(value);
}

/// The first quantized tensor that a node reads.
const QuantizedTensor* first_tensor(const Expansion& e) {
  const Value* input = e.node->input(0);
  if (made_by(input, {"prim::ListConstruct"}) && !input->node()->inputs().empty()) {
    input = input->node()->input(0);
  }
  return e.values.find(input);
}

bool expand_row(const Expansion& e, const Row& row) {
  const QuantizedTensor* found = first_tensor(e);
  if (found == nullptr) return false;
  const QuantizedTensor first = *found;
  const bool cats = row.make == cat;
  const bool binary = row.make == add || row.make == mul || row.make == matmul;
  const bool layer = row.make == linear;
  const char* scale_name = cats || binary ? "scale" : layer ? "Y_scale_i" : "output_scale";
  const char* zero_name = cats || binary ? "zero_point"
                          : layer        ? "Y_zero_point_i"
                                         : "output_zero_point";
  const auto scale = param(e, scale_name, first.scale);
  const auto zero_point = param(e, zero_name, static_cast<double>(first.own_zero_point()));
  if (!scale || !zero_point) return false;
  Value* result = row.make(e);
  if (result == nullptr) return false;
  if (row.relu) result = e.call("aten::relu", {result});
  QuantizedTensor q = first;
  q.scale = *scale;
  q.zero_point = static_cast<std::int64_t>(*zero_point) + (first.dtype == at::kQInt8 ? 128 : 0);
  e.values.set(e.node->output(),
               e.values.quantized(result, q.scale, q.zero_point, q.dtype, e.node));
  return true;
}

/// Lets a node that works on quantized tensors work on their float values where it stands.
void make_float(Node* node, QuantizedValues& values) {
  for (std::size_t i = 0; i < node->inputs().size(); ++i) {
    if (const QuantizedTensor* found = values.find(node->input(i))) {
      node->replaceInput(i, found->real);
    }
  }
  for (Value* output : node->outputs()) {
    if (output->type()->kind() == c10::TypeKind::TensorType) {
      output->setType(c10::TensorType::get());
    }
  }
}

/// A copy of the node on float values, so that its own output still names the quantized tensor.
Node* float_copy(const Expansion& e) {
  Node* copy = e.graph.insertNode(e.graph.createClone(e.node, [](Value* v) { return v; }));
  make_float(copy, e.values);
  return copy;
}

bool expand_movement(const Expansion& e) {
  const QuantizedTensor* found = e.values.find(e.node->input(0));
  if (found == nullptr || !c10::isQIntType(found->dtype)) return false;
  const QuantizedTensor source = *found;
  Node* copy = float_copy(e);
  for (std::size_t i = 0; i < copy->outputs().size(); ++i) {
    QuantizedTensor moved = source;
    moved.real = copy->output(i);
    e.values.set(e.node->output(i), moved);
  }
  return true;
}

bool expand_unpack(const Expansion& e) {
  const QuantizedTensor* found = e.values.find(e.node->input());
  if (found == nullptr) return false;
  const QuantizedTensor source = *found;
  Node* unpack =
      e.graph.insertNode(e.graph.createListUnpack(source.real, e.node->outputs().size()));
  for (std::size_t i = 0; i < unpack->outputs().size(); ++i) {
    QuantizedTensor part = source;
    part.real = unpack->output(i);
    e.values.set(e.node->output(i), part);
  }
  return true;
}

/// torch takes the qparams of the first tensor; where all have them nothing is rounded.
bool expand_cat(const Expansion& e) {
  const std::vector<Value*> reals = reals_of(e, e.node->input(0));
  if (reals.empty()) return false;
  const auto elements = e.node->input(0)->node()->inputs();
  const QuantizedTensor first = *e.values.find(elements[0]);
  if (!c10::isQIntType(first.dtype)) return false;
  const bool equal = std::all_of(elements.begin(), elements.end(), [&](const Value* element) {
    const QuantizedTensor* other = e.values.find(element);
    return other->scale == first.scale && other->zero_point == first.zero_point;
  });
  Value* joined = cat(e);
  QuantizedTensor result = first;
  result.real = joined;
  if (!equal) {
    result = e.values.quantized(joined, first.scale, first.zero_point, first.dtype, e.node);
  }
  e.values.set(e.node->output(), result);
  return true;
}

/// Qparams that torch gives an activation whose range is known.
bool expand_squashing(const Expansion& e, double scale, std::int64_t zero_point) {
  const QuantizedTensor* found = e.tensor(0);
  if (found == nullptr || !c10::isQIntType(found->dtype)) return false;
  const at::ScalarType dtype = found->dtype;
  Node* copy = float_copy(e);
  e.values.set(e.node->output(),
               e.values.quantized(copy->output(), scale, zero_point, dtype, e.node));
  return true;
}

bool expand_keeping(const Expansion& e) {
  const QuantizedTensor* found = e.tensor(0);
  if (found == nullptr || !c10::isQIntType(found->dtype)) return false;
  const QuantizedTensor source = *found;
  Node* copy = float_copy(e);
  e.values.set(e.node->output(), e.values.quantized(copy->output(), source.scale, source.zero_point,
                                                    source.dtype, e.node));
  return true;
}

}  // namespace

bool expand_quantized(const std::shared_ptr<Graph>& graph, Node* node, QuantizedValues& values) {
  const torch::jit::WithInsertPoint guard(node);
  const Expansion e{*graph, node, values};
  const std::string name = node->kind().toQualString();
  for (const Row& row : kRows) {
    if (name == row.op) return expand_row(e, row);
  }
  if (name == "quantized::relu6") {
    const QuantizedTensor* found = e.tensor(0);
    if (found == nullptr) return false;
    const QuantizedTensor source = *found;
    values.set(node->output(), values.quantized(e.call("aten::relu6", {source.real}), source.scale,
                                                source.zero_point, source.dtype, node));
    return true;
  }
  if (node->kind() == c10::prim::ListUnpack) return expand_unpack(e);
  if (node->inputs().empty() || !node->kind().is_aten()) return false;
  if (is_shape_query(node)) {
    if (e.tensor(0) == nullptr) return false;
    make_float(node, values);
    return true;
  }
  if (name == "aten::cat") return expand_cat(e);
  constexpr double kStep = 1.0 / 256;
  if (name == "aten::sigmoid" || name == "aten::hardsigmoid") return expand_squashing(e, kStep, 0);
  if (name == "aten::tanh") return expand_squashing(e, 2 * kStep, 128);
  if (std::find(kKeepParams.begin(), kKeepParams.end(), name) != kKeepParams.end()) {
    return expand_keeping(e);
  }
  return moved_input(node) != nullptr && expand_movement(e);
}

}  // namespace ipex_quant::passes
