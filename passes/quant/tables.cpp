// Implements table_of by running the nodes on all codes.
#include "passes/quant/tables.h"

#include <ATen/ATen.h>

#include <unordered_set>

#include "passes/ir.h"
#include "passes/quant/capability.h"

namespace ipex_quant::passes {

namespace {

constexpr std::int64_t kCodes = 256;

/// Runs one node on a tensor for its first input and the constants behind the others.
at::Tensor run(const Node* node, const at::Tensor& first) {
  torch::jit::Stack stack = {first};
  for (std::size_t i = 1; i < node->inputs().size(); ++i) {
    stack.push_back(constant_of(node->input(i)).value());
  }
  node->getOperation()(stack);
  return stack.at(0).toTensor();
}

}  // namespace

bool is_elementwise(const Node* node) {
  static const std::unordered_set<std::string> kOthers = {
      "aten::abs",      "aten::exp",      "aten::expm1",  "aten::log",        "aten::log1p",
      "aten::sqrt",     "aten::rsqrt",    "aten::square", "aten::reciprocal", "aten::neg",
      "aten::erf",      "aten::sin",      "aten::cos",    "aten::softplus",   "aten::rsub",
      "aten::floor",    "aten::round",    "aten::selu",   "aten::celu",       "aten::log_sigmoid",
      "aten::softsign", "aten::threshold"};
  const bool known =
      kernel_of(node) == Kernel::kUnary || kOthers.count(node->kind().toQualString());
  const bool divides = is_op(node, {"aten::div", "aten::pow"}) && constant_number(node->input(1));
  if (!known && !divides) return false;
  for (std::size_t i = 1; i < node->inputs().size(); ++i) {
    const auto constant = constant_of(node->input(i));
    if (!constant || (constant->isTensor() && constant->toTensor().dim() > 0)) return false;
  }
  return node->outputs().size() == 1 && !constant_of(node->input(0));
}

at::Tensor table_of(const Node* dequantize, const std::vector<Node*>& chain, const Node* quantize) {
  const at::NoGradGuard no_grad;
  at::Tensor values = run(dequantize, at::arange(kCodes, at::kByte));
  for (const Node* node : chain) values = run(node, values);
  return run(quantize, values).contiguous();
}

}  // namespace ipex_quant::passes
