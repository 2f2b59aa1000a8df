// Quantizes a calibrated trace in C++, with a fusion and an operator of its own, and runs it.
//
//   compile traced.pt example.pt out.pt
//
// traced.pt is a trace of a prepared, calibrated model; example.pt holds (inputs, expected) as
// Python wrote it: torch.save((inputs, expected), path). Writes the quantized module to out.pt and
// prints how often the fusion stands in it. Exits with 0 when the output equals the expected tensor
// bit for bit, with 1 when it does not, with 2 when something could not be loaded or compiled.
#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include <torch/library.h>
#include <torch/script.h>
#include <torch/serialize.h>

#include <ipex_quant/compile.h>
#include <ipex_quant/runtime.h>

namespace {

/// The operator that the fusion calls: x * |x|, in one pass over the tensor.
at::Tensor signed_square(const at::Tensor& x) {
  TORCH_CHECK(x.scalar_type() == at::kFloat, "signed_square: x must be float32, got ",
              x.scalar_type());
  const at::Tensor source = x.contiguous();
  at::Tensor result = at::empty_like(source);
  const float* from = source.const_data_ptr<float>();
  float* to = result.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < source.numel(); ++i) to[i] = from[i] * std::abs(from[i]);
  return result;
}

/// What the compiler finds, and what it puts there.
ipex_quant::Fusion signed_square_fusion() {
  ipex_quant::Fusion fusion;
  fusion.name = "signed_square";
  fusion.pattern = R"IR(
graph(%x):
  %a : Tensor = aten::abs(%x)
  %y : Tensor = aten::mul(%x, %a)
  return (%y))IR";
  fusion.rewrite = R"IR(
graph(%x):
  %y : Tensor = example::signed_square(%x)
  return (%y))IR";
  return fusion;
}

torch::IValue load_saved(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  TORCH_CHECK(file, "cannot read ", path);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  return torch::pickle_load(bytes);
}

int calls_of(const torch::jit::Module& module, const std::string& op) {
  int calls = 0;
  for (const torch::jit::Node* node : module.get_method("forward").graph()->nodes()) {
    calls += op == node->kind().toQualString() ? 1 : 0;
  }
  return calls;
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes()) return false;
  const at::Tensor x = a.contiguous();
  const at::Tensor y = b.contiguous();
  return std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

int run(int argc, char** argv) {
  TORCH_CHECK(argc == 4, "usage: compile traced.pt example.pt out.pt");
  ipex_quant::init();
  const c10::InferenceMode guard;
  const torch::jit::Module traced = torch::jit::load(argv[1]);

  ipex_quant::QuantizeOptions options;
  options.fusions.push_back(signed_square_fusion());
  torch::jit::Module quantized = ipex_quant::quantize(traced, options);
  ipex_quant::save(quantized, argv[3]);

  const torch::IValue example = load_saved(argv[2]);
  const at::Tensor expected = example.toTupleRef().elements()[1].toTensor();
  const at::Tensor output =
      quantized.forward(example.toTupleRef().elements()[0].toTupleRef().elements().vec())
          .toTensor();
  const bool identical = same_bits(output, expected);
  std::cout << "fused " << calls_of(quantized, "example::signed_square") << "\n"
            << "identical " << (identical ? "yes" : "no") << "\n"
            << "report " << ipex_quant::report(quantized) << "\n";
  return identical ? 0 : 1;
}

}  // namespace

TORCH_LIBRARY(example, m) { m.def("signed_square(Tensor x) -> Tensor"); }
TORCH_LIBRARY_IMPL(example, CPU, m) { m.impl("signed_square", &signed_square); }

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
}
