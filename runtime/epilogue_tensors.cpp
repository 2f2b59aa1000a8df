// Checks the tensors that the steps of an epilogue read.
#include "runtime/epilogue_tensors.h"

#include <ATen/ExpandUtils.h>

#include "runtime/epilogue_text.h"
#include "runtime/layout.h"

namespace ipex_quant::runtime {

namespace {

at::ScalarType scalar_type(kernels::OperandType type) {
  switch (type) {
  case kernels::OperandType::kU8:
    return at::kByte;
  case kernels::OperandType::kMask:
    return at::kBool;
  default:
    return at::kFloat;
  }
}

}  // namespace

void add_epilogue_tensors(const kernels::Epilogue& epilogue, at::TensorList others,
                          at::IntArrayRef sizes, const char* op, std::vector<at::Tensor>& tensors) {
  TORCH_CHECK(static_cast<int64_t>(others.size()) == tensor_count(epilogue), op, ": the epilogue '",
              format_epilogue(epilogue), "' reads ", tensor_count(epilogue),
              " tensors, but others has ", others.size());
  size_t next = 0;
  for (int i = 0; i < epilogue.count; ++i) {
    const kernels::OperandType type = kernels::operand_type(epilogue.ops[i].kind);
    if (type == kernels::OperandType::kNone) continue;
    const at::Tensor& other = others[next++];
    // torch's where takes bytes for a mask, too.
    const bool bytes = type == kernels::OperandType::kMask && other.scalar_type() == at::kByte;
    check_tensor(other, bytes ? at::kByte : scalar_type(type), op, "a tensor of others");
    TORCH_CHECK(at::is_expandable_to(other.sizes(), sizes), op, ": a tensor of others has shape ",
                other.sizes(), ", which does not broadcast to the output's shape ", sizes);
    tensors.push_back(other.sizes() == sizes ? other : other.expand(sizes));
  }
}

}  // namespace ipex_quant::runtime
