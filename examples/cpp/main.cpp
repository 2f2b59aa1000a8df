// Loads a quantized model, runs it on saved inputs, times it and checks the bits of its output.
//
//   serve model.pt example.pt [runs [threads seconds]]
//
// With threads, so many call the one module for so long, and each output is compared.
// example.pt holds (inputs, expected) as Python wrote it: torch.save((inputs, expected), path),
// inputs a tuple of tensors. Exits with 0 when the output equals the expected tensor bit for bit,
// with 1 when it does not, with 2 when something could not be loaded.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

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

/// Resident memory of this process.
double resident_mb() {
  std::ifstream file("/proc/self/statm");
  long total = 0;
  long resident = 0;
  file >> total >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
}

/// Calls the module from many threads at once; returns how many outputs were wrong.
long call_at_once(torch::jit::Module& model, const std::vector<torch::IValue>& inputs,
                  const at::Tensor& expected, int threads, double seconds) {
  const auto length = std::chrono::duration<double>(seconds);
  std::atomic<long> calls{0};
  std::atomic<long> wrong{0};
  const Clock::time_point start = Clock::now();
  const auto work = [&] {
    at::set_num_threads(1);  // of this thread
    const c10::InferenceMode guard;
    while (Clock::now() - start < length) {
      if (!same_bits(model.forward(inputs).toTensor(), expected)) ++wrong;
      ++calls;
    }
  };
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i) workers.emplace_back(work);
  // What each thread keeps for itself is there after a tenth of the time.
  std::this_thread::sleep_for(length / 10);
  const double before = resident_mb();
  std::this_thread::sleep_for(length * 0.85);
  const double after = resident_mb();
  for (std::thread& worker : workers) worker.join();
  std::cout << "calls " << calls << "\n"
            << "wrong " << wrong << "\n"
            << "resident_mb_before " << before << "\n"
            << "resident_mb_after " << after << "\n";
  return wrong;
}

int run(int argc, char** argv) {
  TORCH_CHECK(argc >= 3 && argc != 5, "usage: serve model.pt example.pt [runs [threads seconds]]");
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
  const long wrong =
      argc > 5 ? call_at_once(model, inputs, expected, std::stoi(argv[4]), std::stod(argv[5])) : 0;
  return identical && wrong == 0 ? 0 : 1;
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
