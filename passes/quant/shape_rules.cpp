// The rules of symbolic shapes, in a table by op name.
#include "passes/quant/shape_rules.h"

#include <algorithm>
#include <unordered_map>

#include "passes/ir.h"
#include "passes/quant/sizes.h"

namespace ipex_quant::passes {

namespace {

using Dims = std::vector<std::string>;
using Ints = std::vector<std::int64_t>;
using Result = std::optional<Shape>;

Shape ranked(Dims dims) { return {true, "", std::move(dims)}; }
std::string name_of(const Value* value) { return "%" + std::to_string(value->unique()); }

/// What a rule sees.
struct Op {
  Shapes& shapes;
  const Value* value;
  const Node* node;

  const Shape& input(std::size_t i) const { return shapes.of(node->input(i)); }
  bool is_tensor(std::size_t i) const {
    return node->input(i)->type()->cast<c10::TensorType>() != nullptr;
  }
  /// A constant list with one entry per spatial dimension; one entry stands for all.
  std::optional<Ints> spatial(std::size_t i, std::size_t count) const {
    auto list = constant_ints(node->input(i));
    if (list && list->size() == 1) list->resize(count, (*list)[0]);
    return list && list->size() == count ? list : std::nullopt;
  }
};

/// `axis` counted from the front; nothing when the rank is unknown or too small.
std::optional<std::size_t> front_axis(const Shape& shape, std::optional<std::int64_t> axis) {
  const auto rank = static_cast<std::int64_t>(shape.dims.size());
  if (!shape.ranked || !axis || *axis >= rank || *axis < -rank) return std::nullopt;
  return static_cast<std::size_t>(*axis < 0 ? *axis + rank : *axis);
}

Result same(const Op& op) { return op.input(0); }

Result normalized(const Op& op) {
  Shape shape = op.input(0);
  const auto last = constant_ints(op.node->input(1));
  if (!last) return shape;
  if (shape.dims.size() < last->size()) {
    if (shape.ranked) return std::nullopt;
    shape.dims.resize(last->size());
  }
  const std::size_t first = shape.dims.size() - last->size();
  for (std::size_t i = 0; i < last->size(); ++i) shape.dims[first + i] = std::to_string((*last)[i]);
  return shape;
}

Result binary(const Op& op) {
  if (!op.is_tensor(1)) return op.input(0);
  return broadcast(op.input(0), op.input(1));
}

/// Sizes of a window that slides: kernel, stride, padding and dilation per spatial dimension.
Result slide(Shape shape, const Ints& kernel, const std::optional<Ints>& stride,
             const std::optional<Ints>& padding, const std::optional<Ints>& dilation, bool ceil) {
  shape = shape.with_rank(kernel.size() + 2);
  if (shape.dims.size() != kernel.size() + 2 || !stride || !padding || !dilation) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < kernel.size(); ++i) {
    const std::int64_t add = 2 * (*padding)[i] - (*dilation)[i] * (kernel[i] - 1) - 1;
    std::string& dim = shape.dims[i + 2];
    dim = window(dim, add, (*stride)[i]);
    if (ceil && (*stride)[i] != 1) dim = "ceil" + dim;
  }
  return shape;
}

Result conv(const Op& op) {
  const Shape& weight = op.input(1);
  if (!weight.ranked || weight.dims.size() < 3) return std::nullopt;
  const std::size_t nd = weight.dims.size() - 2;
  Ints kernel;
  for (std::size_t i = 0; i < nd; ++i) {
    const auto size = number_of(weight.dims[i + 2]);
    if (!size) return std::nullopt;
    kernel.push_back(*size);
  }
  auto shape =
      slide(op.input(0), kernel, op.spatial(3, nd), op.spatial(4, nd), op.spatial(5, nd), false);
  if (shape) shape->dims[1] = weight.dims[0];
  return shape;
}

/// max_pool(x, kernel, stride, padding, dilation, ceil), avg_pool(x, kernel, stride, padding, ceil)
Result pool(const Op& op) {
  const std::string name = op.node->kind().toUnqualString();
  const auto listed = constant_ints(op.node->input(1));
  const std::size_t nd = name.back() == 'd' ? static_cast<std::size_t>(name[name.size() - 2] - '0')
                                            : listed.value_or(Ints()).size();
  const auto kernel = op.spatial(1, nd);
  if (!kernel || nd == 0) return std::nullopt;
  const bool average = name[0] == 'a';
  const auto stride = constant_ints(op.node->input(2));
  const auto ceil = constant_bool(op.node->input(average ? 4 : 5));
  if (!ceil || !stride) return std::nullopt;
  return slide(op.input(0), *kernel, stride->empty() ? kernel : op.spatial(2, nd),
               op.spatial(3, nd), average ? Ints(nd, 1) : op.spatial(4, nd), *ceil);
}

/// Pooled or upsampled to given sizes. Without a rank the input may be one image or a batch: only
/// the last sizes are known.
Result resized(const Op& op) {
  Dims out;
  if (!op.shapes.list_text(op.node->input(1), out) || out.empty()) return std::nullopt;
  Shape shape = op.input(0);
  if (shape.dims.size() < out.size()) {
    if (shape.ranked) return std::nullopt;
    shape.dims.resize(out.size());
  }
  std::copy(out.rbegin(), out.rend(), shape.dims.rbegin());
  return shape;
}

Result pad(const Op& op) {
  const auto sizes = constant_ints(op.node->input(1));
  if (!sizes) return std::nullopt;
  const std::size_t count = sizes->size() / 2;
  Shape shape = op.input(0);
  if (shape.dims.size() < count) {
    if (shape.ranked) return std::nullopt;
    Dims dims;
    for (std::size_t i = count; i > 0; --i)
      dims.push_back(shape.dim(-static_cast<std::int64_t>(i)));
    shape.dims = dims;
  }
  for (std::size_t i = 0; i < count; ++i) {
    std::string& dim = shape.dims[shape.dims.size() - 1 - i];
    dim = window(dim, (*sizes)[2 * i] + (*sizes)[2 * i + 1] - 1, 1);
  }
  return shape;
}

Result linear(const Op& op) {
  const Shape& weight = op.input(1);
  if (!weight.ranked || weight.dims.size() != 2) return std::nullopt;
  Shape shape = op.input(0);
  if (shape.dims.empty()) shape.dims.emplace_back();
  shape.dims.back() = weight.dims[0];
  return shape;
}

Result embedding(const Op& op) {
  const Shape& weight = op.input(0);
  if (!weight.ranked || weight.dims.size() != 2) return std::nullopt;
  Shape shape = op.input(1);
  // A lookup appends a dimension, which an unranked shape cannot say.
  if (!shape.ranked) return Shape{false, name_of(op.value), {weight.dims[1]}};
  shape.dims.push_back(weight.dims[1]);
  return shape;
}

Result reduced(const Op& op) {
  const Value* dim = argument(op.node, "dim");
  const Value* keepdim = argument(op.node, "keepdim");
  const auto axes = dim == nullptr ? std::nullopt : constant_ints(dim);
  const auto keep = keepdim == nullptr ? std::nullopt : constant_bool(keepdim);
  if (!axes || axes->empty() || !keep) return std::nullopt;
  Dims dims = op.input(0).dims;
  for (const std::int64_t axis : *axes) {
    const auto at = front_axis(op.input(0), axis);
    if (!at) return std::nullopt;
    dims[*at] = *keep ? "1" : "";
  }
  dims.erase(std::remove(dims.begin(), dims.end(), std::string()), dims.end());
  return ranked(dims);
}

Result reshape(const Op& op) {
  Dims dims;
  if (!op.shapes.list_text(op.node->input(1), dims)) return std::nullopt;
  const auto open = std::find(dims.begin(), dims.end(), "-1");
  if (open != dims.end()) {
    const std::string name = name_of(op.value) + "." + std::to_string(open - dims.begin());
    *open = left_over(op.input(0), dims).value_or(name);
  }
  return ranked(dims);
}

Result expand(const Op& op) {
  Dims dims;
  if (!op.shapes.list_text(op.node->input(1), dims)) return std::nullopt;
  const Shape& from = op.input(0);
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] != "-1") continue;
    const std::size_t at = i + from.dims.size() - dims.size();  // below 0 it wraps around
    const bool known = from.ranked && at < from.dims.size();
    dims[i] = known ? from.dims[at] : name_of(op.value) + "." + std::to_string(i);
  }
  return ranked(dims);
}

/// arange(end, dtype, layout, device, pin_memory)
Result arange(const Op& op) {
  const auto inputs = op.node->inputs();
  if (inputs.size() != 5 || inputs[0]->type() == c10::FloatType::get()) return std::nullopt;
  return ranked({op.shapes.int_text(inputs[0])});
}

/// where(mask, a, b), masked_fill(x, mask, value): numbers have no shape.
Result broadcast_all(const Op& op) {
  Result shape = ranked({});
  for (std::size_t i = 0; i < op.node->inputs().size() && shape; ++i) {
    if (op.is_tensor(i)) shape = broadcast(*shape, op.input(i));
  }
  return shape;
}

/// An element of what chunk, split or unbind makes.
Result part(const Op& op) {
  const Node* node = op.node->input(0)->node();
  const bool unbinds = is_op(node, {"aten::unbind"});
  const bool splits = is_op(node, {"aten::split", "aten::unsafe_split", "aten::split_with_sizes",
                                   "aten::unsafe_split_with_sizes"});
  if (!unbinds && !splits && !is_op(node, {"aten::chunk", "aten::unsafe_chunk"})) {
    return std::nullopt;
  }
  const Shape& whole = op.shapes.of(node->input(0));
  const auto axis = front_axis(whole, constant_int(node->input(unbinds ? 1 : 2)));
  if (!axis) return std::nullopt;
  Dims dims = whole.dims;
  const auto offset = static_cast<std::int64_t>(op.value->offset());
  const auto size = number_of(dims[*axis]);
  const auto count = constant_int(node->input(1));
  const auto sizes = constant_ints(node->input(1));
  if (unbinds) {
    dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(*axis));
  } else if (splits && sizes && op.value->offset() < sizes->size()) {
    dims[*axis] = std::to_string((*sizes)[op.value->offset()]);
  } else if (!size || !count || *count <= 0 || (!splits && *size % *count != 0)) {
    return std::nullopt;
  } else {
    const std::int64_t rest = *size - offset * *count;
    dims[*axis] = std::to_string(splits ? std::min(*count, rest) : *size / *count);
  }
  return ranked(dims);
}

Result flatten(const Op& op) {
  const auto first = front_axis(op.input(0), constant_int(op.node->input(1)));
  const auto last = front_axis(op.input(0), constant_int(op.node->input(2)));
  if (!first || !last || *first > *last) return std::nullopt;
  const Dims& from = op.input(0).dims;
  const auto begin = from.begin() + static_cast<std::ptrdiff_t>(*first);
  const auto end = from.begin() + static_cast<std::ptrdiff_t>(*last) + 1;
  Dims dims(from.begin(), begin);
  dims.push_back(product({begin, end}));
  dims.insert(dims.end(), end, from.end());
  return ranked(dims);
}

Result transpose(const Op& op) {
  const auto a = front_axis(op.input(0), constant_int(op.node->input(1)));
  const auto b = front_axis(op.input(0), constant_int(op.node->input(2)));
  if (!a || !b) return std::nullopt;
  Dims dims = op.input(0).dims;
  std::swap(dims[*a], dims[*b]);
  return ranked(dims);
}

Result permute(const Op& op) {
  const auto order = constant_ints(op.node->input(1));
  if (!order) return std::nullopt;
  Dims dims;
  for (const std::int64_t axis : *order) {
    const auto at = front_axis(op.input(0), axis);
    if (!at) return std::nullopt;
    dims.push_back(op.input(0).dims[*at]);
  }
  return ranked(dims);
}

Result unsqueeze(const Op& op) {
  const auto axis = constant_int(op.node->input(1));
  if (!axis || !op.input(0).ranked) return std::nullopt;
  Dims dims = op.input(0).dims;
  const auto rank = static_cast<std::int64_t>(dims.size());
  const std::int64_t at = *axis < 0 ? *axis + rank + 1 : *axis;
  if (at < 0 || at > rank) return std::nullopt;
  dims.insert(dims.begin() + at, "1");
  return ranked(dims);
}

Result matmul(const Op& op) {
  const Shape& a = op.input(0);
  const Shape& b = op.input(1);
  const bool known = a.ranked && b.ranked && a.dims.size() == b.dims.size() && a.dims.size() >= 2;
  if (!known) return std::nullopt;
  const auto batch = broadcast(ranked({a.dims.begin(), a.dims.end() - 2}),
                               ranked({b.dims.begin(), b.dims.end() - 2}));
  if (!batch) return std::nullopt;
  Dims dims = batch->dims;
  dims.push_back(a.dims[a.dims.size() - 2]);
  dims.push_back(b.dims.back());
  return ranked(dims);
}

Result cat(const Op& op) {
  if (!made_by(op.node->input(0), {"prim::ListConstruct"})) return std::nullopt;
  const auto tensors = op.node->input(0)->node()->inputs();
  if (tensors.empty()) return std::nullopt;
  const Shape first = op.shapes.of(tensors[0]);
  const auto at = front_axis(first, constant_int(argument(op.node, "dim")));
  if (!at) return std::nullopt;
  std::int64_t total = 0;
  std::string text;
  for (const Value* tensor : tensors) {
    const Shape shape = op.shapes.of(tensor).with_rank(first.dims.size());
    const std::string dim = shape.dim(static_cast<std::int64_t>(*at));
    const auto size = number_of(dim);
    if (!size) text += dim + "+";
    total += size.value_or(0);
  }
  Dims dims = first.dims;
  dims[*at] = text + std::to_string(total);
  return ranked(dims);
}

using Rule = Result (*)(const Op&);

const std::unordered_map<std::string, Rule>& rules() {
  static const std::unordered_map<std::string, Rule> kRules = [] {
    const std::vector<std::pair<Rule, std::vector<const char*>>> families = {
        {same, {"relu",          "relu6",       "hardtanh",      "clamp",
                "clamp_min",     "clamp_max",   "sigmoid",       "tanh",
                "gelu",          "silu",        "hardswish",     "hardsigmoid",
                "leaky_relu",    "elu",         "mish",          "softmax",
                "log_softmax",   "dropout",     "batch_norm",    "group_norm",
                "instance_norm", "contiguous",  "clone",         "alias",
                "detach",        "to",          "type_as",       "roll",
                "flip",          "neg",         "abs",           "exp",
                "sqrt",          "rsqrt",       "erf",           "softplus",
                "prelu",         "square",      "rsub",          "selu",
                "celu",          "log_sigmoid", "_safe_softmax", "logical_not"}},
        {normalized, {"layer_norm", "rms_norm"}},
        {binary, {"add", "sub", "mul", "div"}},
        {conv, {"conv1d", "conv2d", "conv3d"}},
        {pool,
         {"max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"}},
        {resized,
         {"adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
          "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "upsample_nearest1d",
          "upsample_nearest2d", "upsample_bilinear2d"}},
        {pad, {"constant_pad_nd", "pad"}},
        {linear, {"linear"}},
        {embedding, {"embedding"}},
        {reduced, {"mean", "sum", "amax", "amin", "linalg_vector_norm"}},
        {reshape, {"reshape", "view"}},
        {expand, {"expand"}},
        {arange, {"arange"}},
        {broadcast_all, {"where", "masked_fill"}},
        {flatten, {"flatten"}},
        {transpose, {"transpose"}},
        {permute, {"permute"}},
        {unsqueeze, {"unsqueeze"}},
        {matmul, {"matmul", "bmm"}},
        {cat, {"cat"}},
    };
    std::unordered_map<std::string, Rule> table = {
        {"ipex_quant::cat", cat},
        {"ipex_quant::max_pool", pool},
        {"ipex_quant::adaptive_max_pool", resized},
        {"prim::ListUnpack", part},
    };
    for (const char* op : {"quantize", "quantize_channels_last", "dequantize", "requantize", "lut",
                           "function", "quantize_weight", "dequantize_weight"}) {
      table[std::string("ipex_quant::") + op] = same;
    }
    for (const auto& [rule, ops] : families) {
      for (const char* op : ops) table[std::string("aten::") + op] = rule;
    }
    return table;
  }();
  return kRules;
}

}  // namespace

std::optional<Shape> apply_shape_rule(Shapes& shapes, const Value* value) {
  const Node* node = value->node();
  const auto rule = rules().find(node->kind().toQualString());
  const bool is_first = value->offset() == 0 || node->kind() == c10::prim::ListUnpack;
  if (rule == rules().end() || !is_first) return std::nullopt;
  return rule->second({shapes, value, node});
}

}  // namespace ipex_quant::passes
