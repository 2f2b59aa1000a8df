/// \file
/// Implements instrument() and MarkedCalls.
#include "passes/record/mark.h"

#include <ATen/core/Tensor.h>

#include "passes/ir.h"
#include "passes/record/recorder.h"

namespace ipex_quant::passes {

namespace {

/// "path/family/n" -> "family".
std::string family_of(const std::string& site) {
  const std::size_t last = site.rfind('/');
  const std::size_t first =
      last == std::string::npos || last == 0 ? std::string::npos : site.rfind('/', last - 1);
  TORCH_CHECK(first != std::string::npos, "site '", site, "': expected path/family/n");
  return site.substr(first + 1, last - first - 1);
}

c10::IValue transposed(const c10::IValue& matrix) {
  return matrix.isTensor() ? c10::IValue(matrix.toTensor().transpose(-2, -1)) : matrix;
}

/// A linear takes its rows in any number of dimensions (unflatten_linear.h), addmm in two.
c10::IValue rows_of(const c10::IValue& input) {
  return input.isTensor() ? c10::IValue(input.toTensor().flatten(0, -2)) : input;
}

}  // namespace

torch::jit::Module instrument(const torch::jit::Module& module) {
  torch::jit::Module copy = module.clone(/*inplace=*/true);
  const auto graph = copy.get_method("forward").graph();
  for_each_node(graph->block(), [&graph](Node* node) {
    const auto site = site_of(node);
    if (!site) {
      return;
    }
    const torch::jit::WithInsertPoint guard(node);
    const std::string role = role_of(node);
    Value* text = graph->insertConstant(role.empty() ? *site : *site + "#" + role);
    Node* mark =
        graph->create(c10::Symbol::fromQualString("ipex_quant::mark"), {text}, /*num_outputs=*/0);
    graph->insertNode(mark);
  });
  return copy;
}

std::optional<RecordedCall> MarkedCalls::restore(const std::string& mark, const std::string& name,
                                                 c10::ArrayRef<const c10::IValue> arguments) {
  const std::size_t hash = mark.find('#');
  const std::string site = mark.substr(0, hash);
  const std::string role = hash == std::string::npos ? std::string() : mark.substr(hash + 1);
  const std::string family = family_of(site);
  RecordedCall call{family, name, std::vector<c10::IValue>(arguments.begin(), arguments.end()),
                    site};
  if (role == "qk") {
    query_key_[site] = {arguments.at(0), transposed(arguments.at(1))};
    return std::nullopt;
  }
  if (role == "pv") {
    const auto found = query_key_.find(site);
    TORCH_CHECK(found != query_key_.end(), "site '", site,
                "': attention weights used before they were computed");
    call.name = "aten::scaled_dot_product_attention";
    call.arguments = {found->second.first, found->second.second, arguments.at(1), arguments.at(0)};
    query_key_.erase(found);
  } else if (role == "einsum") {
    const std::vector<at::Tensor> operands = {arguments.at(0).toTensor(),
                                              arguments.at(1).toTensor()};
    call.name = "aten::einsum";
    call.arguments = {"...mk,...kn->...mn", operands, c10::IValue()};
  } else if (family == "einsum" && name == "aten::linear") {
    const at::Tensor &x = arguments.at(0).toTensor(), &weight = arguments.at(1).toTensor();
    const bool x_first = role == "tensors.0";
    call.name = "aten::einsum";
    call.arguments = {x_first ? "...k,nk->...n" : "nk,...k->...n",
                      x_first ? std::vector<at::Tensor>{x, weight}
                              : std::vector<at::Tensor>{weight, x},
                      c10::IValue()};
  } else if (family == "glu") {
    call.name = "aten::glu";  // both halves of its input are seen, one after the other
    call.arguments.resize(1);
  } else if (family == "addmm" && name == "aten::linear") {
    call.name = "aten::addmm";
    call.arguments = {arguments.at(2), rows_of(arguments.at(0)), transposed(arguments.at(1))};
  } else if (family == "matmul" && name == "aten::linear") {
    call.name = "aten::matmul";
    call.arguments = {arguments.at(0), transposed(arguments.at(1))};
  } else if (family == "baddbmm" && name == "aten::matmul") {
    call.name = "aten::baddbmm";
    call.arguments = {c10::IValue(), arguments.at(0), arguments.at(1)};
  }
  return call;
}

}  // namespace ipex_quant::passes
