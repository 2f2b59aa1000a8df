// ipex_quant::matmul: batched products of two uint8 tensors, with torch's broadcasting.
#include "runtime/matmul.h"

#include <torch/library.h>

#include "kernels/matmul/matmul.h"
#include "runtime/batches.h"
#include "runtime/epilogue_tensors.h"
#include "runtime/epilogue_text.h"
#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/register_ops.h"
#include "runtime/threading.h"

namespace ipex_quant::runtime {

PackedMatmul::PackedMatmul(double a_scale, int64_t a_zero_point, double b_scale,
                           int64_t b_zero_point, const std::string& epilogue)
    : a_scale_(a_scale), b_scale_(b_scale), a_zero_point_(static_cast<int32_t>(a_zero_point)),
      b_zero_point_(static_cast<int32_t>(b_zero_point)), epilogue_(parse_epilogue(epilogue)) {
  check_qparams(a_scale, a_zero_point, "matmul");
  check_qparams(b_scale, b_zero_point, "matmul");
}

PackedMatmul::State PackedMatmul::state() const {
  return {1, a_scale_, a_zero_point_, b_scale_, b_zero_point_, format_epilogue(epilogue_)};
}

at::Tensor PackedMatmul::run(const at::Tensor& a, const at::Tensor& b,
                             at::TensorList others) const {
  check_tensor(a, at::kByte, "matmul", "a");
  check_tensor(b, at::kByte, "matmul", "b");
  TORCH_CHECK(a.dim() > 0 && b.dim() > 0,
              "matmul: both operands need at least one dimension, got shapes ", a.sizes(), " and ",
              b.sizes());
  const at::Tensor left = a.dim() == 1 ? a.unsqueeze(0) : a;
  const at::Tensor right = b.dim() == 1 ? b.unsqueeze(1) : b;
  TORCH_CHECK(left.size(-1) == right.size(-2), "matmul: shapes ", a.sizes(), " and ", b.sizes(),
              " cannot be multiplied: ", left.size(-1), " is not ", right.size(-2));
  TORCH_CHECK(left.size(-1) <= kernels::kMaxMatmulDepth, "matmul: the inner dimension ",
              left.size(-1), " is larger than ", kernels::kMaxMatmulDepth,
              "; its sums would not fit into int32, keep this matmul in float");

  const std::vector<int64_t> batch = broadcast_batch(left, right);
  std::vector<int64_t> sizes = batch;
  if (a.dim() > 1) sizes.push_back(left.size(-2));
  if (b.dim() > 1) sizes.push_back(right.size(-1));
  const at::Tensor out = empty(sizes, epilogue_.quantize ? at::kByte : at::kFloat);
  std::vector<at::Tensor> tensors;
  add_epilogue_tensors(epilogue_, others, sizes, "matmul", tensors);
  if (out.numel() == 0) return out;
  for (at::Tensor& tensor : tensors) {
    if (a.dim() == 1) tensor = tensor.unsqueeze(b.dim() == 1 ? -1 : -2);
    if (b.dim() == 1) tensor = tensor.unsqueeze(-1);
  }

  const at::Tensor rows = left_operand(left, batch);
  const at::Tensor columns = right_operand(right, batch);
  const std::vector<const uint8_t*> a_pointers = batch_pointers(rows);
  const std::vector<const uint8_t*> b_pointers = batch_pointers(columns);
  const BatchedTensors post(tensors, static_cast<int64_t>(a_pointers.size()));

  kernels::MatmulArgs args;
  args.batches = static_cast<int64_t>(a_pointers.size());
  args.m = left.size(-2);
  args.n = right.size(-1);
  args.k = left.size(-1);
  args.a = a_pointers.data();
  args.a_row_stride = rows.stride(-2);
  args.b = b_pointers.data();
  args.b_k_stride = stride_of(columns, -2);
  args.b_n_stride = stride_of(columns, -1);
  args.a_zero_point = a_zero_point_;
  args.b_zero_point = b_zero_point_;
  args.scale = static_cast<float>(a_scale_ * b_scale_);
  args.epilogue = epilogue_;
  args.tensors = post.descriptors.data();
  args.tensors_per_batch = static_cast<int64_t>(tensors.size());
  args.dst = out.data_ptr();
  kernels::matmul(args, kernels::active_features(), torch_parallel());
  return out;
}

void register_packed_matmul(torch::Library& m) {
  m.class_<PackedMatmul>("PackedMatmul")
      .def_pickle([](const c10::intrusive_ptr<PackedMatmul>& self) { return self->state(); },
                  [](const PackedMatmul::State& state) {
                    const auto& [version, a_scale, a_zero_point, b_scale, b_zero_point, epilogue] =
                        state;
                    TORCH_CHECK(version == 1, "PackedMatmul: saved with format version ", version,
                                ", this library reads version 1; use a newer library");
                    return c10::make_intrusive<PackedMatmul>(a_scale, a_zero_point, b_scale,
                                                             b_zero_point, epilogue);
                  });
}

namespace {

c10::intrusive_ptr<PackedMatmul> matmul_prepack(double a_scale, int64_t a_zero_point,
                                                double b_scale, int64_t b_zero_point,
                                                const std::string& epilogue) {
  return c10::make_intrusive<PackedMatmul>(a_scale, a_zero_point, b_scale, b_zero_point, epilogue);
}

at::Tensor matmul(const at::Tensor& a, const at::Tensor& b,
                  const c10::intrusive_ptr<PackedMatmul>& packed, at::TensorList others) {
  return packed->run(a, b, others);
}

}  // namespace

TORCH_LIBRARY_IMPL(ipex_quant, CompositeExplicitAutograd, m) {
  m.impl("matmul_prepack", &matmul_prepack);
}

TORCH_LIBRARY_IMPL(ipex_quant, CPU, m) { m.impl("matmul", &matmul); }

}  // namespace ipex_quant::runtime
