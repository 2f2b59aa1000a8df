// Inputs of the kernel cases, and all cases in one list.
#include "tests/native/kernel_case.h"

#include <random>

namespace ipex_quant::tests {

using namespace kernels;

namespace {

std::mt19937 g_random(0);

template <class T, class Next>
AlignedVector<T> made(int64_t count, Next&& next) {
  AlignedVector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = static_cast<T>(next());
  return values;
}

}  // namespace

Bytes random_bytes(int64_t count) { return made<uint8_t>(count, g_random); }

AlignedVector<int8_t> random_weights(int64_t count) { return made<int8_t>(count, g_random); }

AlignedVector<float> random_floats(int64_t count) {
  return made<float>(count, [] { return static_cast<float>(g_random() % 2000) / 1000.0f - 1.0f; });
}

EpiloguePlan quantizing() {
  Epilogue chain;
  chain.ops[0].kind = PostOpKind::kGeluErf;
  chain.count = 1;
  chain.quantize = true;
  chain.scale = 0.5f;
  chain.inv_scale = 2.0f;
  chain.zero_point = 100;
  return plan_epilogue(chain);
}

std::vector<KernelCase> all_cases() {
  std::vector<KernelCase> cases;
  for (const auto make : {product_cases, recurrent_cases, row_cases}) {
    for (KernelCase& c : make()) cases.push_back(std::move(c));
  }
  return cases;
}

}  // namespace ipex_quant::tests
