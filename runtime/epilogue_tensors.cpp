// Checks the tensors that the steps of an epilogue read.
#include "runtime/epilogue_tensors.h"

#include <ATen/ExpandUtils.h>

#include "runtime/epilogue_text.h"
#include "runtime/layout.h"

namespace ipex_quant::runtime {

void add_epilogue_tensors(const kernels::Epilogue& epilogue, at::TensorList others,
                          at::IntArrayRef sizes, const char* op, std::vector<at::Tensor>& tensors) {
  TORCH_CHECK(static_cast<int64_t>(others.size()) == tensor_count(epilogue), op, ": the epilogue '",
              format_epilogue(epilogue), "' reads ", tensor_count(epilogue),
              " tensors, but others has ", others.size());
  size_t next = 0;
  for (int i = 0; i < epilogue.count; ++i) {
    const kernels::PostOpKind kind = epilogue.ops[i].kind;
    if (!kernels::reads_tensor(kind)) continue;
    const at::Tensor& other = others[next++];
    const bool is_u8 = kind == kernels::PostOpKind::kAddU8 || kind == kernels::PostOpKind::kMulU8;
    check_tensor(other, is_u8 ? at::kByte : at::kFloat, op, "a tensor of others");
    TORCH_CHECK(at::is_expandable_to(other.sizes(), sizes), op, ": a tensor of others has shape ",
                other.sizes(), ", which does not broadcast to the output's shape ", sizes);
    tensors.push_back(other.sizes() == sizes ? other : other.expand(sizes));
  }
}

}  // namespace ipex_quant::runtime
