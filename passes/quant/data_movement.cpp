// Implements the questions of data_movement.h by a table of op names.
#include "passes/quant/data_movement.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "passes/ir.h"
#include "passes/normalize/aliases.h"

namespace ipex_quant::passes {

namespace {

const std::unordered_map<std::string, Moves>& movers() {
  // clang-format off
  static const std::unordered_map<std::string, Moves> kMovers = {
      {"aten::reshape", Moves::kAll},            {"aten::view", Moves::kAll},
      {"aten::flatten", Moves::kAll},            {"aten::unflatten", Moves::kAll},
      {"aten::reshape_as", Moves::kAll},         {"aten::view_as", Moves::kAll},
      {"aten::permute", Moves::kAll},            {"aten::transpose", Moves::kAll},
      {"aten::t", Moves::kAll},                  {"aten::numpy_T", Moves::kAll},
      {"aten::mT", Moves::kAll},                 {"aten::swapaxes", Moves::kAll},
      {"aten::swapdims", Moves::kAll},           {"aten::movedim", Moves::kAll},
      {"aten::squeeze", Moves::kAll},            {"aten::unsqueeze", Moves::kAll},
      {"aten::expand", Moves::kAll},             {"aten::expand_as", Moves::kAll},
      {"aten::repeat", Moves::kAll},             {"aten::repeat_interleave", Moves::kAll},
      {"aten::contiguous", Moves::kAll},         {"aten::alias", Moves::kAll},
      {"aten::detach", Moves::kAll},             {"aten::clone", Moves::kAll},
      {"aten::roll", Moves::kAll},               {"aten::flip", Moves::kAll},
      {"aten::pixel_shuffle", Moves::kAll},      {"aten::pixel_unshuffle", Moves::kAll},
      {"aten::channel_shuffle", Moves::kAll},    {"aten::upsample_nearest1d", Moves::kAll},
      {"aten::upsample_nearest2d", Moves::kAll}, {"aten::upsample_nearest3d", Moves::kAll},
      {"aten::_upsample_nearest_exact1d", Moves::kAll},
      {"aten::_upsample_nearest_exact2d", Moves::kAll},
      {"aten::_upsample_nearest_exact3d", Moves::kAll},
      {"aten::amax", Moves::kMaximum},
      {"aten::slice", Moves::kSome},             {"aten::select", Moves::kSome},
      {"aten::narrow", Moves::kSome},            {"aten::index_select", Moves::kSome},
      {"aten::gather", Moves::kSome},            {"aten::index", Moves::kSome},
      {"aten::chunk", Moves::kSome},
      {"aten::split", Moves::kSome},             {"aten::split_with_sizes", Moves::kSome},
      {"aten::unsafe_chunk", Moves::kSome},      {"aten::unsafe_split", Moves::kSome},
      {"aten::unsafe_split_with_sizes", Moves::kSome},
      {"aten::tensor_split", Moves::kSome},      {"aten::unbind", Moves::kSome},
      {"aten::reflection_pad1d", Moves::kAll},   {"aten::reflection_pad2d", Moves::kAll},
      {"aten::replication_pad1d", Moves::kAll},  {"aten::replication_pad2d", Moves::kAll},
      {"aten::replication_pad3d", Moves::kAll},
  };
  // clang-format on
  return kMovers;
}

bool is_adaptive_max_pool(const Node* node) {
  return is_op(node, {"aten::adaptive_max_pool1d", "aten::adaptive_max_pool2d",
                      "aten::adaptive_max_pool3d"});
}

bool all_constant(const Node* node, std::size_t first) {
  for (std::size_t i = first; i < node->inputs().size(); ++i) {
    const Value* input = node->input(i);
    if (!constant_of(input) && !constant_ints(input)) return false;
  }
  return true;
}

/// A constant pad moves data when the value is 0: 0 has an exact code, the zero point.
bool pads_with_zero(const Node* node) {
  if (is_op(node, {"aten::constant_pad_nd"})) {
    const auto value = constant_number(node->input(2));
    return value && *value == 0;
  }
  const auto mode = constant_string(node->input(2));
  if (!mode) return false;
  if (*mode != "constant") return true;  // reflect, replicate, circular
  if (is_none(node->input(3))) return true;
  const auto value = constant_number(node->input(3));
  return value && *value == 0;
}

std::optional<Moves> moves(const Node* node) {
  if (node->inputs().empty()) return std::nullopt;
  if (is_op(node, {"aten::max_pool1d", "aten::max_pool2d", "aten::max_pool3d"})) {
    return all_constant(node, 1) ? std::optional(Moves::kMaximum) : std::nullopt;
  }
  if (is_adaptive_max_pool(node)) {
    return node->output(1)->hasUses() ? std::nullopt : std::optional(Moves::kMaximum);
  }
  if (is_op(node, {"ipex_quant::max_pool", "ipex_quant::adaptive_max_pool"}))
    return Moves::kMaximum;
  if (is_op(node, {"aten::pad", "aten::constant_pad_nd"})) {
    return pads_with_zero(node) ? std::optional(Moves::kAll) : std::nullopt;
  }
  const auto found = movers().find(node->kind().toQualString());
  if (found == movers().end()) return std::nullopt;
  return found->second;
}

}  // namespace

std::vector<std::string> moving_ops() {
  std::vector<std::string> names = {"aten::pad",
                                    "aten::constant_pad_nd",
                                    "aten::max_pool1d",
                                    "aten::max_pool2d",
                                    "aten::max_pool3d",
                                    "aten::adaptive_max_pool1d",
                                    "aten::adaptive_max_pool2d",
                                    "aten::adaptive_max_pool3d"};
  for (const auto& [name, how] : movers()) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<Movement> movement_of(Value* value) {
  Node* node = value->node();
  if (node->kind() == c10::prim::ListUnpack) node = node->input()->node();
  const auto how = moves(node);
  if (!how) return std::nullopt;
  return Movement{node, node->input(0), value, *how};
}

Value* moved_input(const Node* node) {
  return moves(node) ? const_cast<Value*>(node->input(0)) : nullptr;
}

bool is_shape_query(const Node* node) {
  return is_op(node, {"aten::size", "aten::dim", "aten::numel", "aten::sym_size", "aten::len",
                      "prim::shape"});
}

std::vector<torch::jit::Use> data_uses(Value* value) {
  std::vector<torch::jit::Use> uses;
  for (const torch::jit::Use& use : value->uses()) {
    if (!is_shape_query(use.user)) uses.push_back(use);
  }
  return uses;
}

std::unordered_set<const Value*> written_values(const std::shared_ptr<Graph>& graph) {
  std::vector<Value*> targets;
  for (const Node* node : all_nodes(graph)) {
    const c10::FunctionSchema* schema = node->maybeSchema();
    if (schema == nullptr) continue;
    for (std::size_t i = 0; i < std::min(schema->arguments().size(), node->inputs().size()); ++i) {
      const auto* alias = schema->arguments()[i].alias_info();
      if (alias != nullptr && alias->isWrite())
        targets.push_back(const_cast<Value*>(node->input(i)));
    }
  }
  std::unordered_set<const Value*> written;
  if (targets.empty()) return written;
  Aliases aliases(graph);
  for (Value* target : targets) {
    for (const Value* value : aliases.group(target)) written.insert(value);
  }
  return written;
}

}  // namespace ipex_quant::passes
