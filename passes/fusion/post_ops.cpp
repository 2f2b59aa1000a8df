// The rows of post-ops: aten op -> epilogue steps, with the guards on its arguments.
#include "passes/fusion/post_ops.h"

#include <cmath>
#include <cstdio>
#include <limits>
#include <sstream>

#include "passes/fusion/known_float.h"
#include "passes/fusion/outline.h"
#include "passes/ir.h"
#include "passes/normalize/rank.h"

namespace ipex_quant::passes {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// What a row sees: the node, the input that is the kernel's result, and where to say no.
struct Match {
  Node* node;
  const Value* result;
  Shapes* shapes;
  std::string* refusal;

  std::optional<PostOp> refuse(const std::string& why) const {
    *refusal = why;
    return std::nullopt;
  }
  std::size_t input_count() const { return node->inputs().size(); }
  std::optional<double> number(std::size_t i) const { return constant_number(node->input(i)); }
};

std::string print(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(static_cast<float>(value)));
  return text;
}

std::string call(const char* name, double a) { return std::string(name) + "(" + print(a) + ")"; }

std::string clamp(double low, double high) {
  return "clamp(" + print(low) + "," + print(high) + ")";
}

std::optional<PostOp> steps(std::vector<std::string> texts) {
  PostOp post_op;
  post_op.before = std::move(texts);
  return post_op;
}

/// An optional bound: None is `otherwise`; not a constant: no value.
std::optional<double> bound(const Match& m, std::size_t i, double otherwise) {
  if (i >= m.input_count() || is_none(m.node->input(i))) return otherwise;
  return m.number(i);
}

std::optional<PostOp> clamp_between(const Match& m, std::optional<double> low,
                                    std::optional<double> high) {
  if (!low || !high) return m.refuse("its bounds are not constants");
  if (*low > *high) return m.refuse("its lower bound exceeds its upper bound");
  return steps({clamp(*low, *high)});
}

std::optional<PostOp> clamp_row(const Match& m) {
  return clamp_between(m, bound(m, 1, -kInfinity), bound(m, 2, kInfinity));
}
std::optional<PostOp> clamp_min_row(const Match& m) {
  return clamp_between(m, m.number(1), kInfinity);
}
std::optional<PostOp> clamp_max_row(const Match& m) {
  return clamp_between(m, -kInfinity, m.number(1));
}
std::optional<PostOp> hardtanh_row(const Match& m) {
  return clamp_between(m, m.number(1), m.number(2));
}
std::optional<PostOp> relu6_row(const Match&) { return steps({clamp(0, 6)}); }

std::optional<PostOp> gelu_row(const Match& m) {
  const auto form = constant_string(m.node->input(1));
  if (!form) return m.refuse("its form is not a constant");
  return steps({*form == "tanh" ? "gelu_tanh" : "gelu"});
}

std::optional<PostOp> leaky_relu_row(const Match& m) {
  const auto slope = m.number(1);
  if (!slope) return m.refuse("its slope is not a constant");
  return steps({call("leaky_relu", *slope)});
}

/// Slopes by channel, dimension 1 of the result.
std::optional<PostOp> prelu_row(const Match& m) {
  const auto slopes = constant_tensor(m.node->input(1));
  const auto rank = rank_of(m.result);
  if (!slopes || slopes->scalar_type() != at::kFloat)
    return m.refuse("its slopes are not a float32 constant");
  PostOp post_op;
  post_op.reads = PostOp::Reads::kSlopes;
  post_op.slopes = slopes->detach().flatten();
  if (rank && *rank >= 2) {
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(*rank) - 1, 1);
    sizes[0] = slopes->numel();
    post_op.slopes = post_op.slopes.reshape(sizes);
  } else if (made_by(m.result, {"aten::linear"})) {
    post_op.ranked = m.result->node()->input(0);
  } else {
    return m.refuse("the number of dimensions of its input is not known");
  }
  return post_op;
}

/// Slopes [C] as [C, 1, ...], the shape that meets dimension 1 of a tensor with the rank of
/// `ranked`.
Value* slopes_by_rank(Graph& graph, Value* slopes, std::int64_t count, Value* ranked) {
  const Node* maker = ranked->node();
  Value* source = is_op(maker, {"ipex_quant::dequantize"}) ? maker->input(0) : ranked;
  Value* rank = insert_call(graph, "aten::dim", {source});
  Value* more = insert_call(graph, "aten::sub", {rank, insert_constant(graph, 2)});
  const auto ints = [&graph](c10::Symbol kind, Value* a, Value* b) {
    Value* list = graph.insertNode(graph.create(kind, {a, b}))->output();
    list->setType(c10::ListType::ofInts());
    return list;
  };
  Value* one = insert_constant(graph, std::vector<std::int64_t>{1});
  Value* first = insert_constant(graph, std::vector<std::int64_t>{count});
  Value* sizes = ints(c10::aten::add, first, ints(c10::aten::mul, one, more));
  return insert_call(graph, "aten::reshape", {slopes, sizes});
}

std::optional<PostOp> elu_row(const Match& m) {
  const auto alpha = m.number(1);
  const auto scale = m.number(2);
  const auto input_scale = m.number(3);
  if (!alpha || !scale || !input_scale) return m.refuse("its arguments are not constants");
  if (*scale != 1 || *input_scale != 1) return m.refuse("it has a scale (selu, celu)");
  return steps({call("elu", *alpha)});
}

/// Is the result the first of the two operands? (x op x has no single user.)
bool result_is_first(const Match& m) { return m.node->input(0) == m.result; }
std::size_t other_index(const Match& m) { return result_is_first(m) ? 1 : 0; }
const Value* other_operand(const Match& m) { return m.node->input(other_index(m)); }

/// The scores that an op masks or scales.
const Value* masked_scores(const Node* node) {
  return node->input(is_op(node, {"aten::where"}) ? 1 : 0);
}

bool scales(const Node* node) {
  return is_op(node, {"aten::mul", "aten::div"}) && constant_number(node->input(1));
}

/// A mask or a score of positions put on attention scores: softmax and the product with the values
/// fix the shape of the masked scores to that of the scores, though the mask's own sizes may be
/// unknown.
bool is_attention_mask(const Match& m) {
  const Node* node = m.node;
  while (is_op(node, {"aten::add", "aten::masked_fill", "aten::where"}) || scales(node)) {
    const auto& uses = node->output()->uses();
    if (uses.size() != 1) return false;
    node = uses[0].user;
  }
  if (node == m.node || !is_op(node, {"aten::softmax", "aten::_safe_softmax"})) return false;
  const Value* scores = m.result;
  while (made_by(scores,
                 {"aten::mul", "aten::div", "aten::add", "aten::masked_fill", "aten::where"})) {
    scores = masked_scores(scores->node());
  }
  return made_by(scores, {"aten::matmul", "aten::bmm"});
}

std::optional<PostOp> tensor_step(const Match& m, PostOp::Reads reads, bool negate_before,
                                  bool negate_after) {
  const Value* other = other_operand(m);
  if (!is_known_float(other)) return m.refuse("its other operand may not be float32");
  if (!m.shapes->fits(other, m.result) && !is_attention_mask(m))
    return m.refuse("its other operand may enlarge the result");
  PostOp post_op;
  if (negate_before) post_op.before = {"mul(-1)"};
  post_op.reads = reads;
  post_op.other = other_index(m);
  if (negate_after) post_op.after = {"mul(-1)"};
  return post_op;
}

std::optional<double> alpha_of(const Match& m) {
  return m.input_count() > 2 ? m.number(2) : std::optional<double>(1.0);
}

std::optional<PostOp> add_row(const Match& m) {
  const auto alpha = alpha_of(m);
  if (!alpha) return m.refuse("its alpha is not a constant");
  const auto number = constant_number(other_operand(m));
  if (number && result_is_first(m)) return steps({call("add", *number * *alpha)});
  if (*alpha != 1) return m.refuse("its alpha is not 1");
  if (number) return steps({call("add", *number)});
  return tensor_step(m, PostOp::Reads::kAddend, false, false);
}

std::optional<PostOp> sub_row(const Match& m) {
  const auto alpha = alpha_of(m);
  if (!alpha) return m.refuse("its alpha is not a constant");
  const auto number = constant_number(other_operand(m));
  if (number && result_is_first(m)) return steps({call("add", -*number * *alpha)});
  if (*alpha != 1) return m.refuse("its alpha is not 1");
  if (number) return steps({"mul(-1)", call("add", *number)});
  // y - b = -(-y + b) and b - y = -y + b, both exact.
  return tensor_step(m, PostOp::Reads::kAddend, true, result_is_first(m));
}

std::optional<PostOp> rsub_row(const Match& m) {
  const auto number = m.number(1);
  const auto alpha = alpha_of(m);
  if (!number || !alpha) return m.refuse("its arguments are not constants");
  return steps({call("mul", -*alpha), call("add", *number)});
}

std::optional<PostOp> mul_row(const Match& m) {
  if (const auto number = constant_number(other_operand(m))) return steps({call("mul", *number)});
  return tensor_step(m, PostOp::Reads::kFactor, false, false);
}

std::optional<PostOp> div_row(const Match& m) {
  const auto number = m.number(1);
  if (!result_is_first(m) || !number) return m.refuse("its divisor is not a constant");
  if (m.input_count() > 2 && !is_none(m.node->input(2))) return m.refuse("it rounds");
  if (*number == 0) return m.refuse("its divisor is 0");
  return steps({call("mul", 1.0 / *number)});
}

/// step(value) with the mask at input `mask`.
std::optional<PostOp> mask_step(const Match& m, const char* step, std::size_t mask,
                                std::size_t value) {
  const auto fill = m.number(value);
  if (!fill || std::isnan(*fill)) return m.refuse("what it fills in is not a constant number");
  if (!m.shapes->fits(m.node->input(mask), m.result) && !is_attention_mask(m))
    return m.refuse("its mask may enlarge the result");
  PostOp post_op;
  post_op.reads = PostOp::Reads::kMask;
  post_op.other = mask;
  post_op.mask_step = call(step, *fill);
  return post_op;
}

std::optional<PostOp> masked_fill_row(const Match& m) {
  if (m.node->input(0) != m.result) return m.refuse("the result is its mask");
  return mask_step(m, "masked_fill", 1, 2);
}

std::optional<PostOp> where_row(const Match& m) {
  if (m.input_count() != 3 || m.node->input(0) == m.result)
    return m.refuse("the result is its mask");
  return m.node->input(1) == m.result ? mask_step(m, "where", 0, 2)
                                      : mask_step(m, "masked_fill", 0, 1);
}

std::optional<PostOp> neg_row(const Match&) { return steps({"mul(-1)"}); }

/// A function of the user that stands for steps.
std::optional<PostOp> function_row(const Match& m) {
  if (!m.node->hasAttribute(steps_attr())) return std::nullopt;  // it becomes a table
  PostOp post_op;
  if (m.input_count() > 1) {
    const auto read = tensor_step(m, PostOp::Reads::kAddend, false, false);
    if (!read || !result_is_first(m)) return std::nullopt;
    post_op.other = read->other;
  }
  std::vector<std::string>* steps = &post_op.before;
  std::istringstream text(m.node->s(steps_attr()));
  for (std::string step; std::getline(text, step, '|');) {
    if (step == "add_f32" || step == "mul_f32") {
      post_op.reads = step == "add_f32" ? PostOp::Reads::kAddend : PostOp::Reads::kFactor;
      steps = &post_op.after;
    } else {
      steps->push_back(step);
    }
  }
  return post_op;
}

struct Row {
  const char* op;
  const char* step;                             ///< an op without arguments
  std::optional<PostOp> (*make)(const Match&);  ///< one with arguments
  const char* shown;                            ///< the steps of `make`, for docs
};

// Left out: softplus, selu and others of no step (they become a table behind quantize, see fuse.h);
// softmax and norms (not elementwise).
// clang-format off
constexpr Row kRows[] = {
    {"aten::relu",           "relu",        nullptr,        nullptr},
    {"aten::relu6",          nullptr,       relu6_row,      "clamp(0,6)"},
    {"aten::hardtanh",       nullptr,       hardtanh_row,   "clamp(low,high)"},
    {"aten::clamp",          nullptr,       clamp_row,      "clamp(low,high)"},
    {"aten::clamp_min",      nullptr,       clamp_min_row,  "clamp(low,inf)"},
    {"aten::clamp_max",      nullptr,       clamp_max_row,  "clamp(-inf,high)"},
    {"aten::sigmoid",        "sigmoid",     nullptr,        nullptr},
    {"aten::tanh",           "tanh",        nullptr,        nullptr},
    {"aten::gelu",           nullptr,       gelu_row,       "gelu or gelu_tanh"},
    {"aten::silu",           "silu",        nullptr,        nullptr},
    {"aten::hardswish",      "hardswish",   nullptr,        nullptr},
    {"aten::hardsigmoid",    "hardsigmoid", nullptr,        nullptr},
    {"aten::leaky_relu",     nullptr,       leaky_relu_row, "leaky_relu(slope)"},
    {"aten::prelu",          nullptr,       prelu_row,      "prelu"},
    {"aten::elu",            nullptr,       elu_row,        "elu(alpha)"},
    {"aten::mish",           "mish",        nullptr,        nullptr},
    {"aten::neg",            nullptr,       neg_row,        "mul(-1)"},
    {"aten::add",            nullptr,       add_row,        "add(number), add_u8 or add_f32"},
    {"aten::sub",            nullptr,       sub_row,        "add(-number), or mul(-1) around add_u8 or add_f32"},
    {"aten::rsub",           nullptr,       rsub_row,       "mul(-alpha)|add(number)"},
    {"aten::mul",            nullptr,       mul_row,        "mul(number), mul_u8 or mul_f32"},
    {"aten::div",            nullptr,       div_row,        "mul(1/number)"},
    {"aten::masked_fill",    nullptr,       masked_fill_row, "masked_fill(number)"},
    {"aten::where",          nullptr,       where_row,      "where(number) or masked_fill(number)"},
    {"ipex_quant::function", nullptr,       function_row,   "the steps of the user"},
};
// clang-format on

}  // namespace

std::size_t PostOp::size() const {
  return before.size() + after.size() + (reads == Reads::kNothing ? 0 : 1);
}

std::optional<PostOp> post_op_of(Node* node, const Value* result, Shapes& shapes,
                                 std::string* refusal) {
  if (node->outputs().size() != 1) return std::nullopt;
  const std::string name = node->kind().toQualString();
  for (const Row& row : kRows) {
    if (name != row.op) continue;
    if (row.step != nullptr) return steps({row.step});
    return row.make({node, result, &shapes, refusal});
  }
  return std::nullopt;
}

void append_steps(const PostOp& post_op, const Node* node, std::vector<std::string>& texts,
                  std::vector<Value*>& others) {
  texts.insert(texts.end(), post_op.before.begin(), post_op.before.end());
  if (post_op.reads == PostOp::Reads::kMask) {
    texts.push_back(post_op.mask_step);
    others.push_back(const_cast<Value*>(node->input(post_op.other)));
  } else if (post_op.reads == PostOp::Reads::kSlopes) {
    texts.push_back("prelu");
    const torch::jit::WithInsertPoint guard(const_cast<Node*>(node));
    auto& graph = *const_cast<Graph*>(node->owningGraph());
    Value* slopes = insert_constant(graph, post_op.slopes);
    if (post_op.ranked != nullptr)
      slopes = slopes_by_rank(graph, slopes, post_op.slopes.numel(), post_op.ranked);
    others.push_back(slopes);
  } else if (post_op.reads != PostOp::Reads::kNothing) {
    const std::string name = post_op.reads == PostOp::Reads::kAddend ? "add" : "mul";
    Value* other = const_cast<Value*>(node->input(post_op.other));
    const Node* maker = other->node();
    if (is_op(maker, {"ipex_quant::dequantize"})) {
      const double scale = constant_number(maker->input(1)).value();
      const std::int64_t zero_point = constant_int(maker->input(2)).value();
      texts.push_back(name + "_u8(" + print(scale) + "," + std::to_string(zero_point) + ")");
      others.push_back(const_cast<Value*>(maker->input(0)));
    } else {
      texts.push_back(name + "_f32");
      others.push_back(other);
    }
  }
  texts.insert(texts.end(), post_op.after.begin(), post_op.after.end());
}

std::string quantize_step(double scale, std::int64_t zero_point) {
  return "quantize(" + print(scale) + "," + std::to_string(zero_point) + ")";
}

std::string table_step(const at::Tensor& table) {
  static const char* const kDigits = "0123456789abcdef";
  std::string digits;
  for (std::int64_t i = 0; i < table.numel(); ++i) {
    const auto byte = table.const_data_ptr<std::uint8_t>()[i];
    digits += {kDigits[byte / 16], kDigits[byte % 16]};
  }
  return "table(" + digits + ")";
}

std::string epilogue_text(const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& text : texts) joined += (joined.empty() ? "" : "|") + text;
  return joined;
}

std::vector<std::pair<std::string, std::string>> post_op_rows() {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const Row& row : kRows) rows.emplace_back(row.op, row.step ? row.step : row.shown);
  return rows;
}

}  // namespace ipex_quant::passes
