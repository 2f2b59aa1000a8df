// Products with packed weights, and those of two inputs.
#include <memory>

#include "kernels/attention/attention.h"
#include "kernels/conv/conv.h"
#include "kernels/dynamic/dynamic_linear.h"
#include "kernels/gemm/gemm.h"
#include "kernels/matmul/matmul.h"
#include "tests/native/kernel_case.h"

namespace ipex_quant::tests {

using namespace kernels;

namespace {

/// A product of m x k and k x n, and what both forms of a linear layer need for it.
struct Linear {
  int64_t m, n, k;
  AlignedVector<int8_t> plain = random_weights(n * k);
  GemmWeight weight = pack_gemm_weight({plain.data(), 1, n, 1, k, n * k, k, k, 1});
  Bytes x = random_bytes(m * k);
  AlignedVector<float> rows = random_floats(m * k);
  PlainRows view{x.data(), k};
  AlignedVector<int32_t> start = AlignedVector<int32_t>(weight.padded_n(), 5);
  AlignedVector<float> scale = AlignedVector<float>(weight.padded_n(), 0.001f);
  AlignedVector<float> bias = random_floats(weight.padded_n());

  Linear(int64_t m, int64_t n, int64_t k) : m(m), n(n), k(k) {}
};

KernelCase linear_case(int64_t m, int64_t n, int64_t k) {
  const auto l = std::make_shared<const Linear>(m, n, k);
  return {"gemm of " + std::to_string(m) + " rows", m * n,
          [l](uint8_t* dst, Features f, const Parallel& p) {
            GemmProblem problem;
            problem.weight = &l->weight;
            problem.m = l->m;
            problem.rows = plain_rows(l->view);
            problem.start = l->start.data();
            problem.scale = l->scale.data();
            problem.bias = l->bias.data();
            problem.epilogue = quantizing();
            problem.dst = dst;
            problem.dst_stride = l->n;
            gemm(problem, f, p);
          }};
}

KernelCase dynamic_case(const char* name, DynamicRange range) {
  const auto l = std::make_shared<const Linear>(600, 20, 128);
  return {name, l->m * l->n, [=](uint8_t* dst, Features f, const Parallel& p) {
            DynamicLinearArgs args;
            args.weight = &l->weight;
            args.weight_scale = l->scale.data();
            args.bias = l->bias.data();
            args.x = l->rows.data();
            args.m = l->m;
            args.k = l->k;
            args.range = range;
            args.epilogue = quantizing();
            args.dst = dst;
            Bytes workspace(dynamic_linear_workspace(args.m, args.k));
            dynamic_linear(args, workspace.data(), f, p);
          }};
}

/// Square kernels of 3 x 3 on square images.
struct Square {
  int64_t in_channels, out_channels, groups;
  int64_t size, stride;
  bool transposed = false;
};

KernelCase conv_case(const char* name, const Square& square) {
  ConvGeometry g;
  g.groups = square.groups;
  g.in_channels = square.in_channels;
  g.out_channels = square.out_channels;
  g.transposed = square.transposed;
  for (int axis = 1; axis < kAxes; ++axis) {
    g.kernel[axis] = 3;
    g.stride[axis] = square.stride;
    g.pad_begin[axis] = g.pad_end[axis] = 1;
  }
  const auto plain = random_weights(g.out_channels * g.in_per_group() * g.taps());
  const auto weight = std::make_shared<const ConvWeight>(pack_conv_weight(g, plain.data()));
  const AlignedVector<float> scale(static_cast<size_t>(g.out_channels), 0.002f);
  const auto made =
      std::make_shared<const ConvChannels>(make_conv_channels(*weight, 3, scale.data(), nullptr));
  ConvCall call;
  call.batch = 2;
  call.pixel_bytes = g.in_channels;
  const auto src = std::make_shared<const Bytes>(
      random_bytes(call.batch * square.size * square.size * g.in_channels));
  int64_t bytes = call.batch * g.out_channels;
  for (int axis = 0; axis < kAxes; ++axis) {
    call.in_size[axis] = axis == 0 ? 1 : square.size;
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

/// Where each of `batches` matrices begins.
template <class T>
std::vector<T*> each(T* first, int64_t batches, int64_t size) {
  std::vector<T*> pointers;
  for (int64_t i = 0; i < batches; ++i) pointers.push_back(first + i * size);
  return pointers;
}

KernelCase matmul_case(const char* name, int64_t batches, int64_t m, int64_t n, int64_t k) {
  const auto a = std::make_shared<const Bytes>(random_bytes(batches * m * k));
  const auto b = std::make_shared<const Bytes>(random_bytes(batches * k * n));
  return {name, batches * m * n, [=](uint8_t* dst, Features f, const Parallel& p) {
            const auto left = each(a->data(), batches, m * k);
            const auto right = each(b->data(), batches, k * n);
            matmul({batches, m, n, k, left.data(), k, right.data(), n, 1, 3, 128, 0.001f,
                    quantizing().chain, nullptr, 0, dst},
                   f, p);
          }};
}

/// Scores scaled and with a mask that all batches read.
KernelCase attention_case(const char* name, int64_t batches, int64_t m, int64_t n, int64_t k) {
  const auto q = std::make_shared<const Bytes>(random_bytes(batches * m * k));
  const auto keys = std::make_shared<const Bytes>(random_bytes(batches * n * k));
  const auto values = std::make_shared<const Bytes>(random_bytes(batches * n * k));
  const auto mask = std::make_shared<const AlignedVector<float>>(random_floats(m * n));
  return {name, batches * m * k, [=](uint8_t* dst, Features f, const Parallel& p) {
            const auto left = each(q->data(), batches, m * k);
            const auto right = each(keys->data(), batches, n * k);
            const auto last = each(values->data(), batches, n * k);
            const auto rows = each(dst, batches, m * k);
            const std::vector<void*> out(rows.begin(), rows.end());
            const std::vector<PostOpTensor> masks(static_cast<size_t>(batches),
                                                  {mask->data(), n, 1});
            AttentionArgs args{};
            args.batches = batches;
            args.m = m;
            args.n = n;
            args.k = args.d = k;
            args.q = left.data();
            args.q_row_stride = k;
            args.q_zero_point = 120;
            args.key = {right.data(), 1, k, 130};
            args.scores.scale = 1e-4f;
            args.scores.chain.ops[0] = {PostOpKind::kMulScalar, 0.7f};
            args.scores.chain.ops[1] = {PostOpKind::kAddF32};
            args.scores.chain.count = 2;
            args.scores.tensors = masks.data();
            args.scores.tensors_per_batch = 1;
            args.p_inv_scale = 255.0f;
            args.value = {last.data(), k, 1, 125};
            args.output.scale = 0.001f;
            args.output.chain = quantizing().chain;
            args.dst = out.data();
            args.dst_row_stride = k;
            attention(args, f, p);
          }};
}

}  // namespace

std::vector<KernelCase> product_cases() {
  return {linear_case(75, 100, 128),
          linear_case(700, 36, 64),
          dynamic_case("dynamic linear by rows", DynamicRange::kRow),
          dynamic_case("dynamic linear by tensor", DynamicRange::kTensor),
          conv_case("conv", {24, 24, 1, 13, 1}),
          conv_case("conv of merged rows", {3, 8, 1, 140, 2}),
          conv_case("conv of padded groups", {36, 36, 2, 30, 1, true}),
          conv_case("conv of groups", {96, 96, 4, 13, 1}),
          conv_case("transposed conv", {24, 24, 1, 13, 2, true}),
          conv_case("depthwise conv", {48, 48, 48, 24, 1}),
          conv_case("depthwise conv, channels repeated", {24, 48, 24, 32, 1}),
          matmul_case("matmul of batches", 4, 48, 40, 64),
          matmul_case("matmul of rows", 1, 100, 80, 64),
          attention_case("attention of batches", 4, 48, 48, 24),
          attention_case("attention of rows", 1, 100, 100, 32)};
}

}  // namespace ipex_quant::tests
