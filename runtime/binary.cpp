// ipex_quant::binary: elementwise arithmetic of two uint8 tensors, with torch's broadcasting.
#include "runtime/binary.h"

#include <ATen/ExpandUtils.h>
#include <torch/library.h>

#include "runtime/epilogue_tensors.h"
#include "runtime/epilogue_text.h"
#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/register_ops.h"
#include "runtime/strided_loop.h"
#include "runtime/threading.h"

namespace ipex_quant::runtime {
namespace {

using kernels::BinaryOp;

struct NamedOp {
  const char* name;
  BinaryOp op;
};

constexpr NamedOp kOps[] = {
    {"add", BinaryOp::kAdd},
    {"sub", BinaryOp::kSub},
    {"mul", BinaryOp::kMul},
};

BinaryOp parse_op(const std::string& name) {
  for (const NamedOp& row : kOps) {
    if (name == row.name) return row.op;
  }
  TORCH_CHECK(false, "binary: unknown op '", name, "'; expected one of: add, sub, mul");
}

const char* name_of(BinaryOp op) {
  for (const NamedOp& row : kOps) {
    if (op == row.op) return row.name;
  }
  return "";
}

kernels::BinaryOperand make_operand(double scale, int64_t zero_point) {
  check_qparams(scale, zero_point, "binary");
  return {nullptr, 0, 0, static_cast<float>(scale), static_cast<int32_t>(zero_point)};
}

/// The output: laid out like the first operand that has its shape, contiguous when none has.
at::Tensor make_output(const at::Tensor& a, const at::Tensor& b, at::ScalarType type) {
  const std::vector<int64_t> sizes = at::infer_size(a.sizes(), b.sizes());
  for (const at::Tensor* like : {&a, &b}) {
    if (like->sizes() == at::IntArrayRef(sizes)) {
      return empty_like(*like, type);
    }
  }
  return empty(sizes, type);
}

}  // namespace

PackedBinary::PackedBinary(const std::string& op, double a_scale, int64_t a_zero_point,
                           double b_scale, int64_t b_zero_point, const std::string& epilogue)
    : op_(parse_op(op)), a_(make_operand(a_scale, a_zero_point)),
      b_(make_operand(b_scale, b_zero_point)), epilogue_(parse_epilogue(epilogue)) {}

PackedBinary::State PackedBinary::state() const {
  return {1,
          name_of(op_),
          a_.scale,
          a_.zero_point,
          b_.scale,
          b_.zero_point,
          format_epilogue(epilogue_)};
}

at::Tensor PackedBinary::run(const at::Tensor& a, const at::Tensor& b,
                             at::TensorList others) const {
  check_tensor(a, at::kByte, "binary", "a");
  check_tensor(b, at::kByte, "binary", "b");
  const at::Tensor out = make_output(a, b, epilogue_.quantize ? at::kByte : at::kFloat);
  if (out.numel() == 0) return out;

  std::vector<at::Tensor> tensors = {out, a.expand(out.sizes()), b.expand(out.sizes())};
  add_epilogue_tensors(epilogue_, others, out.sizes(), "binary", tensors);
  const StridedLoop loop = make_strided_loop(tensors);

  const kernels::Features features = kernels::active_features();
  const kernels::Parallel pool = torch_parallel();
  const auto run_step = [&](int64_t index, const kernels::Parallel& parallel) {
    const std::vector<int64_t> offsets = loop.offsets(index);
    kernels::PostOpTensor post[kernels::kMaxPostOpTensors] = {};
    for (size_t t = 3; t < tensors.size(); ++t) {
      post[t - 3] = {static_cast<const char*>(tensors[t].const_data_ptr()) +
                         offsets[t] * static_cast<int64_t>(tensors[t].element_size()),
                     loop.strides[t][1], loop.strides[t][0]};
    }
    const auto operand = [&](const kernels::BinaryOperand& like, size_t t) {
      return kernels::BinaryOperand{tensors[t].const_data_ptr<uint8_t>() + offsets[t],
                                    loop.strides[t][1], loop.strides[t][0], like.scale,
                                    like.zero_point};
    };
    kernels::BinaryArgs args{op_,
                             operand(a_, 1),
                             operand(b_, 2),
                             loop.rows(),
                             loop.cols(),
                             kernels::plan_epilogue(epilogue_, post),
                             static_cast<char*>(out.data_ptr()) +
                                 offsets[0] * static_cast<int64_t>(out.element_size()),
                             loop.strides[0][1]};
    kernels::binary(args, features, parallel);
  };
  // Large steps are split inside; many small ones are spread over the threads as they are.
  constexpr int64_t kGrain = 32768;
  const int64_t step_size = loop.rows() * loop.cols();
  if (loop.outer() == 1 || step_size >= kGrain * pool.threads) {
    for (int64_t i = 0; i < loop.outer(); ++i) run_step(i, pool);
  } else {
    pool(loop.outer(), std::max<int64_t>(kGrain / step_size, 1), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) run_step(i, kernels::serial());
    });
  }
  return out;
}

void register_packed_binary(torch::Library& m) {
  m.class_<PackedBinary>("PackedBinary")
      .def_pickle([](const c10::intrusive_ptr<PackedBinary>& self) { return self->state(); },
                  [](const PackedBinary::State& state) {
                    const auto& [version, op, a_scale, a_zero_point, b_scale, b_zero_point,
                                 epilogue] = state;
                    TORCH_CHECK(version == 1, "PackedBinary: saved with format version ", version,
                                ", this library reads version 1; use a newer library");
                    return c10::make_intrusive<PackedBinary>(op, a_scale, a_zero_point, b_scale,
                                                             b_zero_point, epilogue);
                  });
}

namespace {

c10::intrusive_ptr<PackedBinary> binary_prepack(const std::string& op, double a_scale,
                                                int64_t a_zero_point, double b_scale,
                                                int64_t b_zero_point, const std::string& epilogue) {
  return c10::make_intrusive<PackedBinary>(op, a_scale, a_zero_point, b_scale, b_zero_point,
                                           epilogue);
}

at::Tensor binary(const at::Tensor& a, const at::Tensor& b,
                  const c10::intrusive_ptr<PackedBinary>& packed, at::TensorList others) {
  return packed->run(a, b, others);
}

}  // namespace

TORCH_LIBRARY_IMPL(ipex_quant, CompositeExplicitAutograd, m) {
  m.impl("binary_prepack", &binary_prepack);
}

TORCH_LIBRARY_IMPL(ipex_quant, CPU, m) { m.impl("binary", &binary); }

}  // namespace ipex_quant::runtime
