// ipex_quant::attention: the two products of attention and the softmax between them.
#include "runtime/attention.h"

#include <ATen/ExpandUtils.h>
#include <torch/library.h>

#include <algorithm>
#include <numeric>

#include "kernels/attention/attention.h"
#include "kernels/matmul/matmul.h"
#include "runtime/batches.h"
#include "runtime/epilogue_tensors.h"
#include "runtime/epilogue_text.h"
#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/register_ops.h"
#include "runtime/threading.h"

namespace ipex_quant::runtime {
namespace {

using QParams = PackedAttention::QParams;

void check_operand(const at::Tensor& tensor, const char* name) {
  check_tensor(tensor, at::kByte, "attention", name);
  TORCH_CHECK(tensor.dim() >= 2, "attention: ", name, " must have 2 dimensions or more, got shape ",
              tensor.sizes());
}

void check_depth(int64_t depth, const char* what) {
  TORCH_CHECK(depth <= kernels::kMaxMatmulDepth, "attention: ", what, " ", depth,
              " is larger than ", kernels::kMaxMatmulDepth,
              "; its sums would not fit into int32, keep this attention in float");
}

/// Strides of a dense tensor of `sizes`, whose dimensions but the last lie in memory in the order
/// of those of `like`; row-major where `like` has no such order.
std::vector<int64_t> strides_like(const at::Tensor& like, const std::vector<int64_t>& sizes) {
  std::vector<size_t> order(sizes.size() - 1);
  std::iota(order.begin(), order.end(), size_t{0});
  const at::IntArrayRef known = like.strides();
  const bool ordered = std::all_of(order.begin(), order.end(),
                                   [&](size_t d) { return sizes[d] <= 1 || known[d] > 0; });
  if (ordered) {
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return known[a] > known[b]; });
  }
  std::vector<int64_t> strides(sizes.size(), 1);
  int64_t stride = std::max<int64_t>(sizes.back(), 1);
  for (auto d = order.rbegin(); d != order.rend(); ++d) {
    strides[*d] = stride;
    stride *= std::max<int64_t>(sizes[*d], 1);
  }
  return strides;
}

kernels::AttentionMatrix describe(const at::Tensor& tensor,
                                  const std::vector<const uint8_t*>& pointers,
                                  const QParams& qparams) {
  return {pointers.data(), stride_of(tensor, -2), stride_of(tensor, -1),
          static_cast<int32_t>(qparams.zero_point)};
}

kernels::AttentionEpilogue describe(const QParams& a, const QParams& b,
                                    const kernels::Epilogue& chain, const BatchedTensors& tensors) {
  return {static_cast<float>(a.scale * b.scale), chain, tensors.descriptors.data(),
          static_cast<int64_t>(tensors.owners.size())};
}

std::vector<void*> result_pointers(const at::Tensor& out) {
  std::vector<void*> pointers;
  const auto size = static_cast<int64_t>(out.element_size());
  for (const int64_t offset : batch_offsets(out)) {
    pointers.push_back(static_cast<char*>(out.mutable_data_ptr()) + offset * size);
  }
  return pointers;
}

}  // namespace

PackedAttention::PackedAttention(const QParams& q, const QParams& k, const QParams& p,
                                 const QParams& v, const std::string& scores,
                                 const std::string& epilogue)
    : q_(q), k_(k), p_(p), v_(v), scores_(parse_epilogue(scores)),
      epilogue_(parse_epilogue(epilogue)) {
  for (const QParams& qparams : {q, k, p, v}) {
    check_qparams(qparams.scale, qparams.zero_point, "attention");
  }
  TORCH_CHECK(!scores_.quantize, "attention: the chain of the scores, '", scores,
              "', must not quantize: softmax reads float32");
}

PackedAttention::State PackedAttention::state() const {
  return {1,
          q_.scale,
          q_.zero_point,
          k_.scale,
          k_.zero_point,
          p_.scale,
          p_.zero_point,
          v_.scale,
          v_.zero_point,
          format_epilogue(scores_),
          format_epilogue(epilogue_)};
}

at::Tensor PackedAttention::run(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                at::TensorList score_tensors, at::TensorList others) const {
  check_operand(q, "q");
  check_operand(k, "k");
  check_operand(v, "v");
  TORCH_CHECK(q.size(-1) == k.size(-2), "attention: shapes ", q.sizes(), " of q and ", k.sizes(),
              " of k cannot be multiplied: ", q.size(-1), " is not ", k.size(-2));
  TORCH_CHECK(k.size(-1) == v.size(-2), "attention: shapes ", k.sizes(), " of k and ", v.sizes(),
              " of v do not fit: ", k.size(-1), " keys and ", v.size(-2), " values");
  check_depth(q.size(-1), "the size of a head");
  check_depth(v.size(-2), "the number of keys");

  const std::vector<int64_t> batch =
      at::infer_size(broadcast_batch(q, k), v.sizes().slice(0, static_cast<size_t>(v.dim() - 2)));
  std::vector<int64_t> score_sizes = batch;
  score_sizes.push_back(q.size(-2));
  std::vector<int64_t> sizes = score_sizes;
  score_sizes.push_back(k.size(-1));
  sizes.push_back(v.size(-1));
  const at::Tensor rows = left_operand(q, batch);
  const at::Tensor out =
      empty_strided(sizes, strides_like(rows, sizes), epilogue_.quantize ? at::kByte : at::kFloat);
  std::vector<at::Tensor> of_scores;
  add_epilogue_tensors(scores_, score_tensors, score_sizes, "attention", of_scores);
  std::vector<at::Tensor> of_result;
  add_epilogue_tensors(epilogue_, others, sizes, "attention", of_result);
  if (out.numel() == 0) return out;

  const at::Tensor keys = right_operand(k, batch);
  const at::Tensor values = right_operand(v, batch);
  const std::vector<const uint8_t*> q_pointers = batch_pointers(rows);
  const std::vector<const uint8_t*> k_pointers = batch_pointers(keys);
  const std::vector<const uint8_t*> v_pointers = batch_pointers(values);
  const std::vector<void*> pointers = result_pointers(out);
  const auto batches = static_cast<int64_t>(pointers.size());
  const BatchedTensors score_descriptors(of_scores, batches);
  const BatchedTensors result_descriptors(of_result, batches);

  kernels::AttentionArgs args;
  args.batches = batches;
  args.m = q.size(-2);
  args.n = k.size(-1);
  args.k = q.size(-1);
  args.d = v.size(-1);
  args.q = q_pointers.data();
  args.q_row_stride = rows.stride(-2);
  args.q_zero_point = static_cast<int32_t>(q_.zero_point);
  args.key = describe(keys, k_pointers, k_);
  args.scores = describe(q_, k_, scores_, score_descriptors);
  args.p_inv_scale = inverse_scale(p_.scale);
  args.p_zero_point = static_cast<int32_t>(p_.zero_point);
  args.value = describe(values, v_pointers, v_);
  args.output = describe(p_, v_, epilogue_, result_descriptors);
  args.dst = pointers.data();
  args.dst_row_stride = out.stride(-2);
  kernels::attention(args, kernels::active_features(), torch_parallel());
  return out;
}

void register_packed_attention(torch::Library& m) {
  m.class_<PackedAttention>("PackedAttention")
      .def_pickle([](const c10::intrusive_ptr<PackedAttention>& self) { return self->state(); },
                  [](const PackedAttention::State& state) {
                    const auto& [version, q_scale, q_zero_point, k_scale, k_zero_point, p_scale,
                                 p_zero_point, v_scale, v_zero_point, scores, epilogue] = state;
                    TORCH_CHECK(version == 1, "PackedAttention: saved with format version ",
                                version, ", this library reads version 1; use a newer library");
                    return c10::make_intrusive<PackedAttention>(
                        QParams{q_scale, q_zero_point}, QParams{k_scale, k_zero_point},
                        QParams{p_scale, p_zero_point}, QParams{v_scale, v_zero_point}, scores,
                        epilogue);
                  });
}

namespace {

c10::intrusive_ptr<PackedAttention>
attention_prepack(double q_scale, int64_t q_zero_point, double k_scale, int64_t k_zero_point,
                  double p_scale, int64_t p_zero_point, double v_scale, int64_t v_zero_point,
                  const std::string& scores, const std::string& epilogue) {
  return c10::make_intrusive<PackedAttention>(
      QParams{q_scale, q_zero_point}, QParams{k_scale, k_zero_point},
      QParams{p_scale, p_zero_point}, QParams{v_scale, v_zero_point}, scores, epilogue);
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const c10::intrusive_ptr<PackedAttention>& packed,
                     at::TensorList score_tensors, at::TensorList others) {
  return packed->run(q, k, v, score_tensors, others);
}

}  // namespace

TORCH_LIBRARY_IMPL(ipex_quant, CompositeExplicitAutograd, m) {
  m.impl("attention_prepack", &attention_prepack);
}

TORCH_LIBRARY_IMPL(ipex_quant, CPU, m) { m.impl("attention", &attention); }

}  // namespace ipex_quant::runtime
