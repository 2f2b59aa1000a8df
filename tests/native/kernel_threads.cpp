// Eight threads at once run every kind of kernel on packed weights that they share, with calls cut
// into tasks for 1, 2, 3 and 8 threads more, on each instruction set, and compare with what one
// thread gave. `kernel_threads NAME` lets two threads write the result of one case instead: a race
// that ThreadSanitizer must report. It sees no masked store, and of several byte stores into one
// word only the last ones, so that not every instruction set shows every race.
#include <cstdio>

#include "kernels/isa.h"
#include "tests/native/at_once.h"
#include "tests/native/kernel_case.h"

namespace ipex_quant::tests {

using namespace kernels;

namespace {

constexpr int kThreads = 8;
constexpr int kPools[] = {1, 2, 3, 8};

/// A pool that makes its threads for each call; counts the calls that more than one got.
struct Pool {
  std::atomic<int>& cut;
  int threads;

  Parallel parallel() {
    return {this, threads, [](void* p, int64_t n, int64_t grain, Parallel::Body body, void* arg) {
              Pool& pool = *static_cast<Pool*>(p);
              const int64_t step = std::max((n + pool.threads - 1) / pool.threads, grain);
              if (step < n) ++pool.cut;
              std::vector<std::thread> threads;
              for (int64_t begin = 0; begin < n; begin += step) {
                threads.emplace_back(body, arg, begin, std::min(begin + step, n));
              }
              for (std::thread& thread : threads) thread.join();
            }};
  }
};

/// Instruction sets of this machine.
std::vector<std::string> isas_here() {
  std::vector<std::string> names;
  for (const std::string& name : isa_names()) {
    if (covers(cpu_features(), features_of_isa(name))) names.push_back(name);
  }
  return names;
}

/// The first call of all asks for the instruction set and fills what is made once.
int ask_at_once() {
  std::atomic<int> wrong{0};
  std::vector<Features> seen(kThreads);
  at_once(kThreads, [&](int thread) { seen[thread] = active_features(); });
  for (const Features features : seen) wrong += features != active_features();
  const std::vector<std::string> names = isa_names();
  at_once(kThreads, [&](int thread) {
    if (thread < 2) set_isa_cap(thread == 0 ? names.front() : "");
    const Features now = active_features();
    wrong += now != cpu_features() && now != features_of_isa(names.front());
  });
  set_isa_cap("");
  return wrong;
}

/// Number of wrong results on an instruction set.
int run_at_once(const std::vector<KernelCase>& cases, const std::string& isa,
                const std::vector<Bytes>& expected) {
  const Features features = features_of_isa(isa);
  std::vector<std::atomic<int>> cut(cases.size());
  std::atomic<int> wrong{0};
  at_once(kThreads, [&](int thread) {
    for (size_t i = 0; i < cases.size(); ++i) {
      const size_t at = (i + thread) % cases.size();
      const KernelCase& c = cases[at];
      Bytes dst(c.bytes);
      Pool pool{cut[at], kPools[thread % std::size(kPools)]};
      c.run(dst.data(), features, pool.threads == 1 ? serial() : pool.parallel());
      if (dst == expected[at]) continue;
      std::printf("%s on %s differs on thread %d\n", c.name.c_str(), isa.c_str(), thread);
      ++wrong;
    }
  });
  for (size_t i = 0; i < cases.size(); ++i) {
    if (cut[i] > 0) continue;
    std::printf("%s on %s was not cut into tasks: make its inputs larger\n", cases[i].name.c_str(),
                isa.c_str());
    ++wrong;
  }
  return wrong;
}

/// Two threads write what a case gives to one place; 0 unless the checker stops the program.
int race(const std::vector<KernelCase>& cases, const std::string& name) {
  for (const KernelCase& c : cases) {
    if (c.name != name) continue;
    Bytes dst(c.bytes);
    at_once(2, [&](int) {
      for (const std::string& isa : isas_here()) c.run(dst.data(), features_of_isa(isa), serial());
    });
    return 0;
  }
  std::printf("no case '%s'\n", name.c_str());
  return 0;
}

int run() {
  int wrong = ask_at_once();
  const std::vector<KernelCase> cases = all_cases();
  std::vector<Bytes> expected;
  for (const KernelCase& c : cases) {
    expected.emplace_back(c.bytes);
    c.run(expected.back().data(), kNoFeature, serial());
  }
  for (const std::string& isa : isas_here()) wrong += run_at_once(cases, isa, expected);
  std::printf("%zu kernels, %d threads, wrong %d\n", cases.size(), kThreads, wrong);
  return wrong == 0 ? 0 : 1;
}

}  // namespace

}  // namespace ipex_quant::tests

int main(int argc, char** argv) {
  using namespace ipex_quant::tests;
  return argc > 1 ? race(all_cases(), argv[1]) : run();
}
