// Runs every kind of kernel under every set of features out of this CPU's, and compares with what
// no feature gives. A cap by name lets through what all CPUs of a generation have; here are VNNI
// without VBMI, AVX-VNNI beside AVX-512 and all the others.
#include <cstdio>

#include "kernels/isa.h"
#include "tests/native/kernel_case.h"

namespace ipex_quant::tests {
namespace {

using namespace kernels;

/// A CPU has nothing else without AVX2, and no part of AVX-512, or AMX, without its base.
bool possible(Features features) {
  constexpr Features kParts = kAvx512Vnni | kAvx512Vbmi | kAmxInt8;
  return covers(features, kAvx2) && (covers(features, kAvx512) || (features & kParts) == 0);
}

Bytes result(const KernelCase& c, Features features) {
  Bytes dst(static_cast<size_t>(c.bytes));
  c.run(dst.data(), features, serial());
  return dst;
}

int run() {
  const std::vector<KernelCase> cases = all_cases();
  const Features own = cpu_features();
  std::vector<Features> sets;
  for (Features features = own; features != kNoFeature; features = (features - 1) & own) {
    if (possible(features)) sets.push_back(features);
  }
  int wrong = 0;
  for (const KernelCase& c : cases) {
    const Bytes expected = result(c, kNoFeature);
    for (const Features features : sets) {
      if (result(c, features) == expected) continue;
      std::printf("%s differs under features 0x%x\n", c.name.c_str(), features);
      ++wrong;
    }
  }
  std::printf("%zu kernels, %zu sets of the features of %s, wrong %d\n", cases.size(), sets.size(),
              isa_name(own).c_str(), wrong);
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ipex_quant::tests

int main() { return ipex_quant::tests::run(); }
