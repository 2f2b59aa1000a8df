// ipex_quant::matmul: batched products of two uint8 tensors, with torch's broadcasting.
#include "runtime/matmul.h"

#include <ATen/ExpandUtils.h>
#include <torch/library.h>

#include "kernels/matmul/matmul.h"
#include "runtime/epilogue_tensors.h"
#include "runtime/epilogue_text.h"
#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/register_ops.h"
#include "runtime/threading.h"

namespace ipex_quant::runtime {
namespace {

/// Element offset of each matrix of a [batch..., rows, columns] tensor, in row-major order.
std::vector<int64_t> batch_offsets(const at::Tensor& tensor) {
  std::vector<int64_t> offsets = {0};
  for (int64_t d = 0; d < tensor.dim() - 2; ++d) {
    std::vector<int64_t> finer;
    finer.reserve(offsets.size() * static_cast<size_t>(tensor.size(d)));
    for (const int64_t offset : offsets) {
      for (int64_t i = 0; i < tensor.size(d); ++i) finer.push_back(offset + i * tensor.stride(d));
    }
    offsets = std::move(finer);
  }
  return offsets;
}

std::vector<const uint8_t*> batch_pointers(const at::Tensor& tensor) {
  std::vector<const uint8_t*> pointers;
  for (const int64_t offset : batch_offsets(tensor)) {
    pointers.push_back(tensor.const_data_ptr<uint8_t>() + offset);
  }
  return pointers;
}

/// `tensor` ([..., rows, columns]) expanded to `batch`, its two matrix dimensions unchanged.
at::Tensor expand_batch(const at::Tensor& tensor, at::IntArrayRef batch) {
  std::vector<int64_t> sizes = batch.vec();
  sizes.push_back(tensor.size(-2));
  sizes.push_back(tensor.size(-1));
  return tensor.expand(sizes);
}

bool unit_stride(const at::Tensor& tensor, int64_t dim) {
  return tensor.size(dim) == 1 || tensor.stride(dim) == 1;
}

/// The stride of `dim` for the kernel, which never steps along a dimension of size 1.
int64_t stride_of(const at::Tensor& tensor, int64_t dim) {
  return tensor.size(dim) == 1 ? 1 : tensor.stride(dim);
}

/// Descriptors of the epilogue's tensors, [batches][others], and what keeps their memory alive.
struct BatchedTensors {
  std::vector<kernels::PostOpTensor> descriptors;
  std::vector<at::Tensor> owners;

  /// \param tensors each [batch..., m, n]
  BatchedTensors(const std::vector<at::Tensor>& tensors, int64_t batches)
      : descriptors(tensors.size() * static_cast<size_t>(batches)) {
    for (size_t t = 0; t < tensors.size(); ++t) {
      const int64_t columns_stride = tensors[t].size(-1) == 1 ? 0 : tensors[t].stride(-1);
      const bool usable = columns_stride == 0 || columns_stride == 1;
      const at::Tensor& tensor = owners.emplace_back(usable ? tensors[t] : tensors[t].contiguous());
      const std::vector<int64_t> offsets = batch_offsets(tensor);
      for (size_t i = 0; i < offsets.size(); ++i) {
        descriptors[i * tensors.size() + t] = {static_cast<const char*>(tensor.const_data_ptr()) +
                                                   offsets[i] *
                                                       static_cast<int64_t>(tensor.element_size()),
                                               tensor.stride(-2), usable ? columns_stride : 1};
      }
    }
  }
};

}  // namespace

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

  const std::vector<int64_t> batch =
      at::infer_size(left.sizes().slice(0, static_cast<size_t>(left.dim() - 2)),
                     right.sizes().slice(0, static_cast<size_t>(right.dim() - 2)));
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

  const at::Tensor rows = expand_batch(unit_stride(left, -1) ? left : left.contiguous(), batch);
  const bool right_usable = unit_stride(right, -1) || unit_stride(right, -2);
  const at::Tensor columns = expand_batch(right_usable ? right : right.contiguous(), batch);
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
