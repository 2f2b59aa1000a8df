// ipex_quant::embedding and embedding_bag: rows of an int8 table.
#include "runtime/embedding.h"

#include <torch/library.h>

#include <algorithm>
#include <cmath>

#include "kernels/huge_pages.h"
#include "runtime/epilogue_text.h"
#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/register_ops.h"
#include "runtime/threading.h"

namespace ipex_quant::runtime {
namespace {

/// Indices as contiguous int64, each checked to be a row.
at::Tensor checked_indices(const at::Tensor& indices, int64_t rows, const char* op) {
  TORCH_CHECK(indices.scalar_type() == at::kLong || indices.scalar_type() == at::kInt, op,
              ": indices must be int32 or int64, got ", indices.scalar_type());
  check_tensor(indices, indices.scalar_type(), op, "indices");
  const at::Tensor wide = indices.to(at::kLong).contiguous();
  const int64_t* index = wide.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < wide.numel(); ++i) {
    TORCH_CHECK_INDEX(index[i] >= 0 && index[i] < rows, op, ": index ", index[i], " at position ",
                      i, " is out of range for a table of ", rows, " rows");
  }
  return wide;
}

/// Starts of the bags and the end of the last one.
std::vector<int64_t> bag_bounds(const at::Tensor& indices, const std::optional<at::Tensor>& offsets,
                                bool include_last_offset) {
  std::vector<int64_t> bounds;
  if (!offsets.has_value() || !offsets->defined()) {
    TORCH_CHECK(indices.dim() == 2,
                "embedding_bag: without offsets, indices must have 2 dimensions "
                "[bags, rows per bag], got shape ",
                indices.sizes());
    for (int64_t bag = 0; bag <= indices.size(0); ++bag) bounds.push_back(bag * indices.size(1));
    return bounds;
  }
  TORCH_CHECK(indices.dim() == 1,
              "embedding_bag: with offsets, indices must have 1 dimension, got "
              "shape ",
              indices.sizes());
  TORCH_CHECK(offsets->dim() == 1 &&
                  (offsets->scalar_type() == at::kLong || offsets->scalar_type() == at::kInt),
              "embedding_bag: offsets must be a 1-dimensional int32 or int64 tensor, got ",
              offsets->scalar_type(), " of shape ", offsets->sizes());
  const at::Tensor wide = offsets->to(at::kLong).contiguous();
  const int64_t* offset = wide.const_data_ptr<int64_t>();
  bounds.assign(offset, offset + wide.numel());
  if (!include_last_offset) bounds.push_back(indices.numel());
  TORCH_CHECK(!bounds.empty(),
              "embedding_bag: with include_last_offset, offsets must not be empty");
  TORCH_CHECK(bounds.size() == 1 || bounds.front() == 0,
              "embedding_bag: offsets must start with 0, got ", bounds.front());
  TORCH_CHECK(std::is_sorted(bounds.begin(), bounds.end()) && bounds.back() <= indices.numel(),
              "embedding_bag: offsets must not decrease or exceed the number of indices, ",
              indices.numel());
  return bounds;
}

}  // namespace

PackedEmbedding::PackedEmbedding(const at::Tensor& weight, const at::Tensor& weight_scale,
                                 const std::string& epilogue)
    : epilogue_(parse_epilogue(epilogue)) {
  check_tensor(weight, at::kChar, "embedding_prepack", "weight");
  check_tensor(weight_scale, at::kFloat, "embedding_prepack", "weight_scale");
  TORCH_CHECK(weight.dim() == 2, "embedding_prepack: weight must have shape [rows, dim], got ",
              weight.sizes());
  TORCH_CHECK(weight_scale.numel() == 1 ||
                  (weight_scale.dim() == 1 && weight_scale.numel() == weight.size(0)),
              "embedding_prepack: weight_scale must have 1 or ", weight.size(0),
              " elements, got shape ", weight_scale.sizes());
  TORCH_CHECK(tensor_count(epilogue_) == 0, "embedding_prepack: the epilogue '", epilogue,
              "' reads a tensor, which an embedding has not");
  weight_ = weight.contiguous();
  scale_ = weight_scale.contiguous();
  for (const at::Tensor& read_at_random : {weight_, scale_}) {
    kernels::move_to_huge_pages(read_at_random.const_data_ptr(), read_at_random.nbytes());
  }
  const float* scale = scale_.const_data_ptr<float>();
  for (int64_t i = 0; i < scale_.numel(); ++i) {
    TORCH_CHECK(std::isfinite(scale[i]) && scale[i] > 0, "embedding_prepack: scale ", i,
                " must be finite and positive, got ", scale[i]);
  }
}

PackedEmbedding::State PackedEmbedding::state() const {
  return {1, weight_, scale_, format_epilogue(epilogue_)};
}

kernels::EmbeddingTable PackedEmbedding::table() const {
  return {weight_.const_data_ptr<int8_t>(), weight_.size(1), scale_.const_data_ptr<float>(),
          scale_.numel() == 1 ? 0 : 1};
}

at::Tensor PackedEmbedding::make_output(std::vector<int64_t> sizes) const {
  sizes.push_back(weight_.size(1));
  return empty(sizes, epilogue_.quantize ? at::kByte : at::kFloat);
}

at::Tensor PackedEmbedding::lookup(const at::Tensor& indices) const {
  const at::Tensor index = checked_indices(indices, rows(), "embedding");
  at::Tensor out = make_output(indices.sizes().vec());
  if (out.numel() == 0) return out;
  kernels::embedding({table(), index.const_data_ptr<int64_t>(), 0, index.numel(),
                      kernels::plan_epilogue(epilogue_), out.data_ptr()},
                     kernels::active_features(), torch_parallel());
  return out;
}

at::Tensor PackedEmbedding::lookup_bags(const at::Tensor& indices,
                                        const std::optional<at::Tensor>& offsets, int64_t mode,
                                        const std::optional<at::Tensor>& per_sample_weights,
                                        bool include_last_offset, int64_t padding_idx) const {
  TORCH_CHECK(mode >= 0 && mode <= 2,
              "embedding_bag: mode must be 0 (sum), 1 (mean) or 2 (max), got ", mode);
  TORCH_CHECK(padding_idx >= -1 && padding_idx < rows(), "embedding_bag: padding_idx ", padding_idx,
              " is out of range for a table of ", rows(), " rows; -1 means none");
  const at::Tensor index = checked_indices(indices, rows(), "embedding_bag");
  const std::vector<int64_t> bounds = bag_bounds(indices, offsets, include_last_offset);
  at::Tensor per_sample;
  if (per_sample_weights.has_value() && per_sample_weights->defined()) {
    TORCH_CHECK(mode == 0, "embedding_bag: per_sample_weights need mode 0 (sum), got mode ", mode);
    check_tensor(*per_sample_weights, at::kFloat, "embedding_bag", "per_sample_weights");
    TORCH_CHECK(per_sample_weights->sizes() == indices.sizes(),
                "embedding_bag: per_sample_weights must have the shape of indices, ",
                indices.sizes(), ", got ", per_sample_weights->sizes());
    per_sample = per_sample_weights->contiguous();
  }
  const int64_t bags = static_cast<int64_t>(bounds.size()) - 1;
  at::Tensor out = make_output({bags});
  if (out.numel() == 0) return out;
  kernels::EmbeddingBagArgs args;
  args.table = table();
  args.indices = index.const_data_ptr<int64_t>();
  args.offsets = bounds.data();
  args.per_sample = per_sample.defined() ? per_sample.const_data_ptr<float>() : nullptr;
  args.padding_index = padding_idx;
  args.mode = static_cast<kernels::BagMode>(mode);
  args.begin = 0;
  args.end = bags;
  args.epilogue = kernels::plan_epilogue(epilogue_);
  args.dst = out.data_ptr();
  kernels::embedding_bag(args, kernels::active_features(), torch_parallel());
  return out;
}

void register_packed_embedding(torch::Library& m) {
  m.class_<PackedEmbedding>("PackedEmbedding")
      .def_pickle([](const c10::intrusive_ptr<PackedEmbedding>& self) { return self->state(); },
                  [](const PackedEmbedding::State& state) {
                    const auto& [version, weight, scale, epilogue] = state;
                    TORCH_CHECK(version == 1, "PackedEmbedding: saved with format version ",
                                version, ", this library reads version 1; use a newer library");
                    return c10::make_intrusive<PackedEmbedding>(weight, scale, epilogue);
                  });
}

namespace {

c10::intrusive_ptr<PackedEmbedding> embedding_prepack(const at::Tensor& weight,
                                                      const at::Tensor& weight_scale,
                                                      const std::string& epilogue) {
  return c10::make_intrusive<PackedEmbedding>(weight, weight_scale, epilogue);
}

at::Tensor embedding(const at::Tensor& indices, const c10::intrusive_ptr<PackedEmbedding>& packed) {
  return packed->lookup(indices);
}

at::Tensor embedding_bag(const at::Tensor& indices, const std::optional<at::Tensor>& offsets,
                         const c10::intrusive_ptr<PackedEmbedding>& packed, int64_t mode,
                         const std::optional<at::Tensor>& per_sample_weights,
                         bool include_last_offset, int64_t padding_idx) {
  return packed->lookup_bags(indices, offsets, mode, per_sample_weights, include_last_offset,
                             padding_idx);
}

}  // namespace

TORCH_LIBRARY_IMPL(ipex_quant, CPU, m) {
  m.impl("embedding_prepack", &embedding_prepack);
  m.impl("embedding", &embedding);
  m.impl("embedding_bag", &embedding_bag);
}

}  // namespace ipex_quant::runtime
