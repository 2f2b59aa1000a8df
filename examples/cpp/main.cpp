// Loads a quantized model, runs it on saved inputs, times it and checks the bits of its output.
//
//   serve model.pt example.pt [runs]
//
// example.pt holds (inputs, expected) as Python wrote it: torch.save((inputs, expected), path),
// inputs a tuple of tensors. Exits with 0 when the output equals the expected tensor bit for bit,
// with 1 when it does not, with 2 when something could not be loaded.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <torch/script.h>
#include <torch/serialize.h>

#include <ipex_quant/runtime.h>
#include <ipex_quant/steady.h>

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

torch::IValue load_saved(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  TORCH_CHECK(file, "cannot read ", path);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  return torch::pickle_load(bytes);
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes()) return false;
  const at::Tensor x = a.contiguous();
  const at::Tensor y = b.contiguous();
  return std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

int run(int argc, char** argv) {
  TORCH_CHECK(argc >= 3, "usage: serve model.pt example.pt [runs]");
  const int runs = argc > 3 ? std::stoi(argv[3]) : 20;
  TORCH_CHECK(runs > 0, "runs: got ", runs, ", expected at least 1");

  ipex_quant::init();
  at::set_num_threads(1);
  const c10::InferenceMode guard;
  torch::jit::Module model = torch::jit::load(argv[1]);
  ipex_quant::make_steady(model);
  const torch::IValue example = load_saved(argv[2]);
  const std::vector<torch::IValue> inputs =
      example.toTupleRef().elements()[0].toTupleRef().elements().vec();
  const at::Tensor expected = example.toTupleRef().elements()[1].toTensor();

  std::vector<double> times;
  at::Tensor output;
  for (int i = 0; i <= runs; ++i) {
    const Clock::time_point start = Clock::now();
    output = model.forward(inputs).toTensor();
    times.push_back(milliseconds(start, Clock::now()));
  }
  const double first = times.front();
  const auto middle = times.begin() + 1 + runs / 2;
  std::nth_element(times.begin() + 1, middle, times.end());
  const bool identical = same_bits(output, expected);
  std::cout << "version " << ipex_quant::version() << "\n"
            << "isa " << ipex_quant::isa() << "\n"
            << "first_ms " << first << "\n"
            << "steady_ms " << *middle << "\n"
            << "identical " << (identical ? "yes" : "no") << "\n";
  return identical ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
}
