// Eight threads at once run every kind of kernel on packed weights that they share, each call cut
// into tasks for three threads more, on each instruction set, and compare with what one thread
// gave.
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include "kernels/conv/conv.h"
#include "kernels/dynamic/dynamic_linear.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/gemm/gemm.h"
#include "kernels/isa.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/norm.h"
#include "tests/native/at_once.h"

namespace ipex_quant::kernels {
namespace {

constexpr int kThreads = 8;
using Bytes = AlignedVector<uint8_t>;

/// A pool that makes its threads for each call.
Parallel three_threads() {
  return {nullptr, 3, [](void*, int64_t n, int64_t grain, Parallel::Body body, void* arg) {
            const int64_t step = std::max((n + 2) / 3, grain);
            std::vector<std::thread> threads;
            for (int64_t begin = 0; begin < n; begin += step) {
              threads.emplace_back(body, arg, begin, std::min(begin + step, n));
            }
            for (std::thread& thread : threads) thread.join();
          }};
}

/// One kernel with its inputs, which all threads share. Writes the result to `dst`.
struct Case {
  const char* name;
  int64_t bytes;  ///< of the result
  std::function<void(uint8_t* dst, Features features, const Parallel& parallel)> run;
};

std::mt19937 g_random(0);

template <class T>
AlignedVector<T> random_values(int64_t count) {
  AlignedVector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = static_cast<T>(g_random());
  return values;
}

AlignedVector<float> random_floats(int64_t count) {
  AlignedVector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(g_random() % 2000) / 1000.0f - 1.0f;
  return values;
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

/// A product of 37 x 128 and 128 x 100, and what both forms of a linear layer need for it.
struct Linear {
  static constexpr int64_t kM = 37, kN = 100, kK = 128;
  AlignedVector<int8_t> plain = random_values<int8_t>(kN * kK);
  GemmWeight weight = pack_gemm_weight({plain.data(), 1, kN, 1, kK, kN * kK, kK, kK, 1});
  AlignedVector<uint8_t> x = random_values<uint8_t>(kM * kK);
  AlignedVector<float> rows = random_floats(kM * kK);
  PlainRows view{x.data(), kK};
  AlignedVector<int32_t> start = AlignedVector<int32_t>(weight.padded_n(), 5);
  AlignedVector<float> scale = AlignedVector<float>(weight.padded_n(), 0.001f);
  AlignedVector<float> bias = random_floats(weight.padded_n());
};

Case linear_case(const std::shared_ptr<Linear>& l) {
  return {"gemm", Linear::kM * Linear::kN, [l](uint8_t* dst, Features f, const Parallel& p) {
            GemmProblem problem;
            problem.weight = &l->weight;
            problem.m = Linear::kM;
            problem.rows = plain_rows(l->view);
            problem.start = l->start.data();
            problem.scale = l->scale.data();
            problem.bias = l->bias.data();
            problem.epilogue = quantizing();
            problem.dst = dst;
            problem.dst_stride = Linear::kN;
            gemm(problem, f, p);
          }};
}

Case dynamic_case(const std::shared_ptr<Linear>& l) {
  return {"dynamic linear", Linear::kM * Linear::kN,
          [l](uint8_t* dst, Features f, const Parallel& p) {
            DynamicLinearArgs args;
            args.weight = &l->weight;
            args.weight_scale = l->scale.data();
            args.bias = l->bias.data();
            args.x = l->rows.data();
            args.m = Linear::kM;
            args.k = Linear::kK;
            args.range = DynamicRange::kRow;
            args.epilogue = quantizing();
            args.dst = dst;
            Bytes workspace(dynamic_linear_workspace(args.m, args.k));
            dynamic_linear(args, workspace.data(), f, p);
          }};
}

Case conv_case(const char* name, int64_t groups, int64_t channels, int64_t stride) {
  ConvGeometry g;
  g.groups = groups;
  g.in_channels = g.out_channels = channels;
  for (int axis = 1; axis < kAxes; ++axis) {
    g.kernel[axis] = 3;
    g.stride[axis] = stride;
    g.pad_begin[axis] = g.pad_end[axis] = 1;
  }
  const auto plain = random_values<int8_t>(channels * g.in_per_group() * g.taps());
  const auto weight = std::make_shared<const ConvWeight>(pack_conv_weight(g, plain.data()));
  const auto scale = AlignedVector<float>(static_cast<size_t>(channels), 0.002f);
  const auto made =
      std::make_shared<const ConvChannels>(make_conv_channels(*weight, 3, scale.data(), nullptr));
  constexpr int64_t kSize = 13;
  const auto src =
      std::make_shared<const Bytes>(random_values<uint8_t>(2 * kSize * kSize * channels));
  ConvCall call;
  call.batch = 2;
  int64_t bytes = 2 * channels;
  for (int axis = 0; axis < kAxes; ++axis) {
    call.in_size[axis] = axis == 0 ? 1 : kSize;
    call.out_size[axis] = conv_output_size(g, axis, call.in_size[axis]);
    bytes *= call.out_size[axis];
  }
  return {name, bytes, [=](uint8_t* dst, Features f, const Parallel& p) {
            ConvCall mine = call;
            mine.weight = weight.get();
            mine.channels = made.get();
            mine.src = src->data();
            mine.dst = dst;
            mine.epilogue = quantizing();
            Bytes scratch(conv_scratch_bytes(mine));
            mine.scratch = scratch.data();
            conv(mine, f, p);
          }};
}

Case matmul_case() {
  constexpr int64_t kM = 19, kN = 23, kK = 40, kBatches = 4;
  const auto a = std::make_shared<const Bytes>(random_values<uint8_t>(kBatches * kM * kK));
  const auto b = std::make_shared<const Bytes>(random_values<uint8_t>(kBatches * kK * kN));
  return {"matmul", kBatches * kM * kN, [=](uint8_t* dst, Features f, const Parallel& p) {
            std::vector<const uint8_t*> left, right;
            for (int64_t i = 0; i < kBatches; ++i) {
              left.push_back(a->data() + i * kM * kK);
              right.push_back(b->data() + i * kK * kN);
            }
            matmul({kBatches, kM, kN, kK, left.data(), kK, right.data(), kN, 1, 3, 128, 0.001f,
                    quantizing().chain, nullptr, 0, dst},
                   f, p);
          }};
}

std::vector<Case> norm_cases() {
  constexpr int64_t kRows = 65, kCols = 77;
  const auto src = std::make_shared<const AlignedVector<float>>(random_floats(kRows * kCols));
  const auto weight = std::make_shared<const AlignedVector<float>>(random_floats(kCols));
  return {{"softmax", kRows * kCols,
           [=](uint8_t* dst, Features f, const Parallel& p) {
             softmax({src->data(), dst, kRows, kCols, kCols, kCols, 255.0f, 0}, f, p);
           }},
          {"layer norm", kRows * kCols,
           [=](uint8_t* dst, Features f, const Parallel& p) {
             layer_norm({src->data(), weight->data(), weight->data(), nullptr, nullptr, dst, kRows,
                         kCols, 1e-5f, 20.0f, 128},
                        f, p);
           }},
          {"quantize and table", kRows * kCols, [=](uint8_t* dst, Features f, const Parallel& p) {
             quantize({src->data(), dst, kRows * kCols, 100.0f, 128}, f, p);
             uint8_t table[256];
             requantize_table(0.01f, 128, 50.0f, 10, f, table);
             lut({dst, dst, kRows * kCols, table}, f, p);
           }}};
}

int run() {
  const auto linear = std::make_shared<Linear>();
  std::vector<Case> cases = {linear_case(linear),
                             dynamic_case(linear),
                             matmul_case(),
                             conv_case("conv", 1, 24, 1),
                             conv_case("grouped", 4, 24, 2),
                             conv_case("depthwise", 24, 24, 1)};
  for (Case& c : norm_cases()) cases.push_back(std::move(c));
  std::atomic<int> wrong{0};
  // The first call of all chooses the instruction set and fills what is made once: at once, too.
  for (const std::string& name : isa_names()) {
    const Features features = features_of_isa(name);
    if (!covers(cpu_features(), features)) continue;
    std::vector<std::vector<Bytes>> results(kThreads);
    tests::at_once(kThreads, [&](int thread) {
      for (size_t i = 0; i < cases.size(); ++i) {
        const Case& c = cases[(i + thread) % cases.size()];
        Bytes dst(c.bytes);
        c.run(dst.data(), features, thread % 2 ? three_threads() : serial());
        results[thread].push_back(std::move(dst));
      }
    });
    for (size_t i = 0; i < cases.size(); ++i) {
      Bytes expected(cases[i].bytes);
      cases[i].run(expected.data(), kNoFeature, serial());
      for (int thread = 0; thread < kThreads; ++thread) {
        const size_t at = (i + cases.size() - thread % cases.size()) % cases.size();
        if (results[thread][at] == expected) continue;
        std::printf("%s on %s differs on thread %d\n", cases[i].name, name.c_str(), thread);
        ++wrong;
      }
    }
  }
  std::printf("%zu kernels, %d threads, wrong %d\n", cases.size(), kThreads, wrong.load());
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ipex_quant::kernels

int main() { return ipex_quant::kernels::run(); }
