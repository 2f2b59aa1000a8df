/// \file
/// Implements the rank and last-size inference.
#include "passes/normalize/rank.h"

#include <algorithm>

#include "passes/ir.h"
#include "passes/normalize/conv_node.h"

namespace ipex_quant::passes {

namespace {

constexpr int kMaxDepth = 200;

std::optional<std::int64_t> rank_at(const Value* value, int depth);
std::optional<std::int64_t> last_at(const Value* value, int depth);

/// Output has the shape of input 0.
bool keeps_shape(const Node* node) {
  return is_op(node, {"aten::relu",
                      "aten::relu6",
                      "aten::hardtanh",
                      "aten::clamp",
                      "aten::sigmoid",
                      "aten::tanh",
                      "aten::gelu",
                      "aten::silu",
                      "aten::hardswish",
                      "aten::hardsigmoid",
                      "aten::elu",
                      "aten::leaky_relu",
                      "aten::mish",
                      "aten::batch_norm",
                      "aten::layer_norm",
                      "aten::rms_norm",
                      "aten::softmax",
                      "aten::contiguous",
                      "aten::clone",
                      "aten::to",
                      "aten::prelu",
                      "aten::dropout",
                      "aten::group_norm",
                      "aten::log_softmax",
                      "aten::selu",
                      "aten::celu",
                      "ipex_quant::quantize",
                      "ipex_quant::dequantize"});
}

/// Output has the rank of input 0.
bool keeps_rank(const Node* node) {
  return keeps_shape(node) || is_op(node, {"aten::linear",
                                           "aten::transpose",
                                           "aten::permute",
                                           "aten::slice",
                                           "aten::index_select",
                                           "aten::narrow",
                                           "aten::max_pool1d",
                                           "aten::max_pool2d",
                                           "aten::max_pool3d",
                                           "aten::avg_pool1d",
                                           "aten::avg_pool2d",
                                           "aten::avg_pool3d",
                                           "aten::adaptive_avg_pool1d",
                                           "aten::adaptive_avg_pool2d",
                                           "aten::adaptive_avg_pool3d",
                                           "aten::adaptive_max_pool1d",
                                           "aten::adaptive_max_pool2d",
                                           "aten::adaptive_max_pool3d",
                                           "aten::constant_pad_nd",
                                           "aten::pad",
                                           "aten::flip",
                                           "aten::roll"});
}

std::optional<std::int64_t> list_length(const Value* list) {
  if (const auto constant = constant_of(list); constant && constant->isIntList()) {
    return static_cast<std::int64_t>(constant->toIntList().size());
  }
  if (made_by(list, {"prim::ListConstruct"})) {
    return static_cast<std::int64_t>(list->node()->inputs().size());
  }
  return std::nullopt;
}

/// The integer behind sizes, quotients and products, which the tracer wraps in 0-dim tensors.
std::optional<std::int64_t> number_at(const Value* value, int depth) {
  if (const auto number = constant_number(value)) {
    return static_cast<std::int64_t>(*number);
  }
  const Node* node = value->node();
  if (depth == 0) {
    return std::nullopt;
  }
  if (is_op(node, {"aten::Int", "prim::NumToTensor"})) {
    return number_at(node->input(0), depth - 1);
  }
  if (is_op(node, {"aten::size"}) && node->inputs().size() == 2) {
    const auto dim = constant_int(node->input(1));
    const auto rank = rank_at(node->input(0), depth - 1);
    const bool is_last = dim && (*dim == -1 || (rank && *dim == *rank - 1));
    return is_last ? last_at(node->input(0), depth - 1) : std::nullopt;
  }
  const bool truncates =
      is_op(node, {"aten::floor_divide", "aten::floordiv"}) ||
      (is_op(node, {"aten::div"}) && node->inputs().size() == 3 && !is_none(node->input(2)));
  if (truncates || is_op(node, {"aten::mul"})) {
    const auto a = number_at(node->input(0), depth - 1);
    const auto b = number_at(node->input(1), depth - 1);
    if (!a || !b || (truncates && (*b <= 0 || *a < 0))) {
      return std::nullopt;
    }
    return truncates ? *a / *b : *a * *b;
  }
  return std::nullopt;
}

std::optional<std::int64_t> last_entry(const Value* list, int depth) {
  std::optional<std::int64_t> entry;
  if (const auto constants = constant_ints(list)) {
    entry = constants->empty() ? std::nullopt : std::make_optional(constants->back());
  } else if (made_by(list, {"prim::ListConstruct"}) && !list->node()->inputs().empty()) {
    entry = number_at(list->node()->inputs().back(), depth);
  }
  return entry && *entry >= 0 ? entry : std::nullopt;
}

/// cat keeps the rank of its tensors.
std::optional<std::int64_t> list_rank(const Value* list, int depth) {
  if (made_by(list, {"prim::ListConstruct"})) {
    for (const Value* tensor : list->node()->inputs()) {
      if (const auto rank = rank_at(tensor, depth)) {
        return rank;
      }
    }
  }
  return std::nullopt;
}

/// Rank after flatten(start, end) of a value of rank `rank`; a flatten of everything behind the
/// batch has rank 2.
std::optional<std::int64_t> flatten_rank(const Node* node, int depth) {
  const auto start = constant_int(node->input(1));
  const auto end = constant_int(node->input(2));
  if (!start || !end) {
    return std::nullopt;
  }
  if (*start >= 0 && *end == -1) {
    // flatten(0) gives 1, flatten(1) gives 2, ... for any rank above start
    return *start + 1;
  }
  const auto rank = rank_at(node->input(0), depth);
  if (!rank) {
    return std::nullopt;
  }
  const std::int64_t first = *start < 0 ? *start + *rank : *start;
  const std::int64_t last = *end < 0 ? *end + *rank : *end;
  return *rank - (last - first);
}

std::optional<std::int64_t> shifted(std::optional<std::int64_t> rank, std::int64_t by) {
  return rank ? std::make_optional(*rank + by) : std::nullopt;
}

std::optional<std::int64_t> mean_rank(const Node* node, int depth) {
  const auto dims = constant_ints(node->input(1));
  const auto keep = constant_bool(node->input(2));
  if (!dims || !keep) {
    return std::nullopt;
  }
  return shifted(rank_at(node->input(0), depth),
                 *keep ? 0 : -static_cast<std::int64_t>(dims->size()));
}

std::optional<std::int64_t> rank_at(const Value* value, int depth) {
  if (const auto type = value->type()->cast<c10::TensorType>(); type && type->dim()) {
    return static_cast<std::int64_t>(*type->dim());
  }
  const Node* node = value->node();
  if (depth == 0) {
    return std::nullopt;
  }
  if (const auto tensor = constant_tensor(value)) {
    return tensor->dim();
  }
  if (keeps_rank(node)) {
    return rank_at(node->input(0), depth - 1);
  }
  if (is_canonical_conv_op(node)) {
    const std::string name = node->kind().toUnqualString();
    return name[name.size() - 2] - '0' + 2;
  }
  if (is_op(node, {"aten::reshape", "aten::view", "aten::expand"})) {
    return list_length(node->input(1));
  }
  if (is_op(node, {"aten::reshape_as", "aten::view_as", "aten::expand_as"})) {
    return rank_at(node->input(1), depth - 1);
  }
  if (is_op(node, {"aten::cat", "ipex_quant::cat"})) {
    return list_rank(node->input(0), depth - 1);
  }
  if (is_op(node, {"aten::flatten"})) {
    return flatten_rank(node, depth - 1);
  }
  if (is_op(node, {"aten::unflatten"})) {
    const auto parts = list_length(node->input(2));
    return parts ? shifted(rank_at(node->input(0), depth - 1), *parts - 1) : std::nullopt;
  }
  if (is_op(node, {"aten::select"})) {
    return shifted(rank_at(node->input(0), depth - 1), -1);
  }
  if (is_op(node, {"aten::unsqueeze"})) {
    return shifted(rank_at(node->input(0), depth - 1), 1);
  }
  if (is_op(node, {"aten::mean", "aten::sum"}) && node->inputs().size() == 4) {
    return mean_rank(node, depth - 1);
  }
  if (is_op(node, {"prim::ListUnpack"}) &&
      made_by(node->input(0), {"aten::unbind", "aten::chunk", "aten::split"})) {
    const bool unbind = made_by(node->input(0), {"aten::unbind"});
    return shifted(rank_at(node->input(0)->node()->input(0), depth - 1), unbind ? -1 : 0);
  }
  if (is_op(node, {"aten::addmm", "aten::mm"})) {
    return 2;
  }
  if (is_op(node, {"aten::add", "aten::sub", "aten::mul", "aten::div"})) {
    const auto a = rank_at(node->input(0), depth - 1);
    if (!node->input(1)->type()->cast<c10::TensorType>()) return a;  // a number
    const auto b = rank_at(node->input(1), depth - 1);
    return a && b ? std::make_optional(std::max(*a, *b)) : std::nullopt;
  }
  return std::nullopt;
}

/// A split along a dimension that is not the last keeps the last size.
std::optional<std::int64_t> unpacked_last(const Node* node, int depth) {
  const Node* split = node->input(0)->node();
  if (is_op(split, {"aten::unbind"})) {
    const auto dim = constant_int(split->input(1));
    const auto rank = rank_at(split->input(0), depth);
    if (dim && rank && *dim >= 0 && *dim < *rank - 1) {
      return last_at(split->input(0), depth);
    }
  }
  if (is_op(split, {"aten::chunk"})) {
    const auto chunks = constant_int(split->input(1));
    const auto dim = constant_int(split->input(2));
    const auto last = last_at(split->input(0), depth);
    if (chunks && dim == std::optional<std::int64_t>(-1) && last && *last % *chunks == 0) {
      return *last / *chunks;
    }
  }
  return std::nullopt;
}

/// Last size after transpose or permute, when the last dimension stays in its place.
std::optional<std::int64_t> permuted_last(const Node* node, int depth) {
  const auto rank = rank_at(node->input(0), depth);
  if (is_op(node, {"aten::permute"})) {
    const auto order = constant_ints(node->input(1));
    const bool stays =
        order && !order->empty() &&
        (order->back() == -1 || order->back() == static_cast<std::int64_t>(order->size()) - 1);
    return stays ? last_at(node->input(0), depth) : std::nullopt;
  }
  for (const std::size_t side : {1, 2}) {
    const auto dim = constant_int(node->input(side));
    const bool may_be_last = dim && (*dim == -1 || (*dim >= 0 && (!rank || *dim == *rank - 1)));
    if (!dim || may_be_last) {
      return std::nullopt;
    }
  }
  return last_at(node->input(0), depth);
}

/// Of two tensors: a size that is not 1 is that of the result.
std::optional<std::int64_t> broadcast_last(const Node* node, int depth) {
  constexpr int kMaxOther = 6;  // few steps on one side, so that both sides cost little
  if (!constant_number(node->input(1))) {
    const auto other = last_at(node->input(1), std::min(depth - 1, kMaxOther));
    if (other && *other != 1) return other;
    const auto first = last_at(node->input(0), depth - 1);
    return first && (*first != 1 || other) ? first : std::nullopt;
  }
  return last_at(node->input(0), depth - 1);
}

std::optional<std::int64_t> last_at(const Value* value, int depth) {
  const Node* node = value->node();
  if (depth == 0) {
    return std::nullopt;
  }
  if (const auto tensor = constant_tensor(value)) {
    return tensor->dim() > 0 ? std::make_optional(tensor->size(-1)) : std::nullopt;
  }
  if (is_op(node, {"aten::layer_norm", "aten::rms_norm"})) {
    return last_entry(node->input(1), depth - 1);
  }
  if (keeps_shape(node)) {
    return last_at(node->input(0), depth - 1);
  }
  if (is_op(node, {"aten::linear"})) {
    const auto weight = constant_tensor(node->input(1));
    return weight ? std::make_optional(weight->size(0)) : std::nullopt;
  }
  if (is_op(node, {"aten::reshape", "aten::view"})) {
    return last_entry(node->input(1), depth - 1);
  }
  if (is_op(node, {"aten::unflatten"}) &&
      constant_int(node->input(1)) == std::optional<std::int64_t>(-1)) {
    return last_entry(node->input(2), depth - 1);
  }
  if (is_op(node, {"aten::transpose", "aten::permute"})) {
    return permuted_last(node, depth - 1);
  }
  if (is_op(node, {"aten::select"})) {
    const auto dim = constant_int(node->input(1));
    const auto rank = rank_at(node->input(0), depth - 1);
    return dim && rank && *dim >= 0 && *dim < *rank - 1 ? last_at(node->input(0), depth - 1)
                                                        : std::nullopt;
  }
  if (is_op(node, {"prim::ListUnpack"})) {
    return unpacked_last(node, depth - 1);
  }
  if (is_op(node, {"aten::embedding"})) {
    return last_at(node->input(0), depth - 1);
  }
  if (is_op(node, {"aten::mul", "aten::add", "aten::sub", "aten::div"})) {
    return broadcast_last(node, depth);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> rank_of(const Value* value) { return rank_at(value, kMaxDepth); }

std::optional<std::int64_t> last_size_of(const Value* value) { return last_at(value, kMaxDepth); }

}  // namespace ipex_quant::passes
