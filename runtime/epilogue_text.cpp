// Parses and prints epilogue chains; the table of steps is the only list of their names.
#include "runtime/epilogue_text.h"

#include <c10/util/Exception.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace ipex_quant::runtime {
namespace {

using kernels::Epilogue;
using kernels::PostOp;
using kernels::PostOpKind;

/// What the arguments in the parentheses mean.
enum class Form { kPlain, kFactor, kFill, kBounds, kU8 };

struct Step {
  const char* name;
  PostOpKind kind;
  Form form;
};

// clang-format off
constexpr Step kSteps[] = {
    {"relu",        PostOpKind::kRelu,        Form::kPlain},
    {"clamp",       PostOpKind::kClamp,       Form::kBounds},
    {"sigmoid",     PostOpKind::kSigmoid,     Form::kPlain},
    {"tanh",        PostOpKind::kTanh,        Form::kPlain},
    {"gelu",        PostOpKind::kGeluErf,     Form::kPlain},
    {"gelu_tanh",   PostOpKind::kGeluTanh,    Form::kPlain},
    {"silu",        PostOpKind::kSilu,        Form::kPlain},
    {"hardswish",   PostOpKind::kHardswish,   Form::kPlain},
    {"hardsigmoid", PostOpKind::kHardsigmoid, Form::kPlain},
    {"leaky_relu",  PostOpKind::kLeakyRelu,   Form::kFactor},
    {"elu",         PostOpKind::kElu,         Form::kFactor},
    {"mish",        PostOpKind::kMish,        Form::kPlain},
    {"mul",         PostOpKind::kMulScalar,   Form::kFactor},
    {"add",         PostOpKind::kAddScalar,   Form::kFactor},
    {"add_u8",      PostOpKind::kAddU8,       Form::kU8},
    {"add_f32",     PostOpKind::kAddF32,      Form::kPlain},
    {"mul_u8",      PostOpKind::kMulU8,       Form::kU8},
    {"mul_f32",     PostOpKind::kMulF32,      Form::kPlain},
    {"prelu",       PostOpKind::kPrelu,       Form::kPlain},
    {"masked_fill", PostOpKind::kMaskedFill,  Form::kFill},
    {"where",       PostOpKind::kWhere,       Form::kFill},
};
// clang-format on

constexpr size_t kArguments[] = {0, 1, 1, 2, 2};  // by Form

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end; (end = text.find(separator, begin)) != std::string::npos; begin = end + 1) {
    parts.push_back(text.substr(begin, end - begin));
  }
  parts.push_back(text.substr(begin));
  return parts;
}

float parse_float(const std::string& word, const std::string& step) {
  char* end = nullptr;
  const float value = std::strtof(word.c_str(), &end);
  TORCH_CHECK(!word.empty() && *end == '\0' && !std::isnan(value), "epilogue step '", step,
              "': argument '", word, "' is not a number");
  return value;
}

float parse_scale(const std::string& word, const std::string& step) {
  const float value = parse_float(word, step);
  TORCH_CHECK(std::isfinite(value) && value > 0 && std::isfinite(1.0f / value), "epilogue step '",
              step, "': scale ", word, " must be finite and positive");
  return value;
}

int32_t parse_zero_point(const std::string& word, const std::string& step) {
  char* end = nullptr;
  const long value = std::strtol(word.c_str(), &end, 10);
  TORCH_CHECK(!word.empty() && *end == '\0' && value >= 0 && value <= 255, "epilogue step '", step,
              "': zero point ", word, " must be an integer from 0 to 255");
  return static_cast<int32_t>(value);
}

const Step& find_step(const std::string& name, const std::string& step) {
  std::string known;
  for (const Step& row : kSteps) {
    if (name == row.name) return row;
    known += std::string(row.name) + ", ";
  }
  TORCH_CHECK(false, "unknown epilogue step '", step, "'; expected one of: ", known,
              "quantize, table");
}

PostOp make_post_op(const Step& row, const std::vector<std::string>& arguments,
                    const std::string& step) {
  TORCH_CHECK(arguments.size() == kArguments[static_cast<int>(row.form)], "epilogue step '", step,
              "' has ", arguments.size(), " arguments but ", row.name, " takes ",
              kArguments[static_cast<int>(row.form)]);
  PostOp op{row.kind};
  switch (row.form) {
  case Form::kPlain:
    break;
  case Form::kFactor:
    op.a = parse_float(arguments[0], step);
    TORCH_CHECK(std::isfinite(op.a), "epilogue step '", step, "': argument must be finite");
    break;
  case Form::kFill:
    op.a = parse_float(arguments[0], step);
    break;
  case Form::kBounds:
    op.a = parse_float(arguments[0], step);
    op.b = parse_float(arguments[1], step);
    TORCH_CHECK(op.a <= op.b, "epilogue step '", step, "': lower bound exceeds upper bound");
    break;
  case Form::kU8:
    op.a = parse_scale(arguments[0], step);
    op.zero_point = parse_zero_point(arguments[1], step);
    break;
  }
  return op;
}

/// 512 hexadecimal digits as 256 bytes.
void parse_table(const std::string& digits, uint8_t* table) {
  constexpr size_t kDigits = 512;
  const size_t wrong = digits.find_first_not_of("0123456789abcdef");
  TORCH_CHECK(digits.size() == kDigits && wrong == std::string::npos,
              "epilogue step 'table' takes ", kDigits, " hexadecimal digits in lower case, got ",
              digits.size(), " characters",
              wrong == std::string::npos ? std::string()
                                         : ", one of them '" + digits.substr(wrong, 1) + "'");
  const auto value = [&](size_t i) {
    const char c = digits[i];
    return c <= '9' ? c - '0' : c - 'a' + 10;
  };
  for (size_t i = 0; i < kDigits / 2; ++i) {
    table[i] = static_cast<uint8_t>(16 * value(2 * i) + value(2 * i + 1));
  }
}

std::string print_table(const uint8_t* table) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string step = "table(";
  for (size_t i = 0; i < 256; ++i) {
    step += kDigits[table[i] / 16];
    step += kDigits[table[i] % 16];
  }
  return step + ")";
}

std::string print(float value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.9g", static_cast<double>(value));
  return buffer;
}

}  // namespace

Epilogue parse_epilogue(const std::string& text) {
  Epilogue epilogue;
  if (text.empty()) return epilogue;
  int tensors = 0;
  for (const std::string& step : split(text, '|')) {
    const size_t open = step.find('(');
    const std::string name = step.substr(0, open);
    const bool looks_up = name == "table" && epilogue.quantize && !epilogue.look_up;
    TORCH_CHECK(!epilogue.quantize || looks_up, "epilogue '", text,
                "': quantize must be the last step but for one table");
    std::vector<std::string> arguments;
    if (open != std::string::npos) {
      TORCH_CHECK(step.back() == ')', "epilogue step '", step, "' lacks a closing parenthesis");
      arguments = split(step.substr(open + 1, step.size() - open - 2), ',');
    }
    if (name == "table") {
      TORCH_CHECK(looks_up, "epilogue '", text, "': table must stand behind quantize");
      TORCH_CHECK(arguments.size() == 1, "epilogue step 'table' takes 1 argument, got ",
                  arguments.size());
      parse_table(arguments[0], epilogue.table);
      epilogue.look_up = true;
      continue;
    }
    if (name == "quantize") {
      TORCH_CHECK(arguments.size() == 2, "epilogue step '", step, "' has ", arguments.size(),
                  " arguments but quantize takes 2");
      epilogue.quantize = true;
      epilogue.scale = parse_scale(arguments[0], step);
      epilogue.inv_scale = 1.0f / epilogue.scale;
      epilogue.zero_point = parse_zero_point(arguments[1], step);
      continue;
    }
    const PostOp op = make_post_op(find_step(name, step), arguments, step);
    TORCH_CHECK(epilogue.count < kernels::kMaxPostOps, "epilogue '", text, "' has more than ",
                kernels::kMaxPostOps, " steps");
    tensors += kernels::reads_tensor(op.kind) ? 1 : 0;
    TORCH_CHECK(tensors <= kernels::kMaxPostOpTensors, "epilogue '", text, "' reads more than ",
                kernels::kMaxPostOpTensors, " tensors");
    epilogue.ops[epilogue.count++] = op;
  }
  return epilogue;
}

std::string format_epilogue(const Epilogue& epilogue) {
  std::string text;
  for (int i = 0; i < epilogue.count; ++i) {
    const PostOp& op = epilogue.ops[i];
    for (const Step& row : kSteps) {
      if (row.kind != op.kind) continue;
      text += (text.empty() ? "" : "|") + std::string(row.name);
      if (row.form == Form::kFactor || row.form == Form::kFill) text += "(" + print(op.a) + ")";
      if (row.form == Form::kBounds) text += "(" + print(op.a) + "," + print(op.b) + ")";
      if (row.form == Form::kU8)
        text += "(" + print(op.a) + "," + std::to_string(op.zero_point) + ")";
    }
  }
  if (epilogue.quantize) {
    text += (text.empty() ? "" : "|") + std::string("quantize(") + print(epilogue.scale) + "," +
            std::to_string(epilogue.zero_point) + ")";
  }
  if (epilogue.look_up) text += "|" + print_table(epilogue.table);
  return text;
}

int tensor_count(const Epilogue& epilogue) {
  int count = 0;
  for (int i = 0; i < epilogue.count; ++i) count += kernels::reads_tensor(epilogue.ops[i].kind);
  return count;
}

}  // namespace ipex_quant::runtime
