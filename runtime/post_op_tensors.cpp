// Makes the tensors that an epilogue reads readable for the kernels.
#include "runtime/post_op_tensors.h"

#include "runtime/epilogue_tensors.h"

namespace ipex_quant::runtime {
namespace {

using kernels::PostOpTensor;

/// Strides of `t` as one row stride and one column stride; false when rows do not follow each other
/// evenly.
bool describe(const at::Tensor& t, int64_t column_axis, PostOpTensor& out) {
  out.col_stride = t.size(column_axis) == 1 ? 1 : t.stride(column_axis);
  if (out.col_stride != 0 && out.col_stride != 1) return false;
  out.row_stride = 0;
  int64_t expected = -1;
  for (int64_t d = t.dim() - 1; d >= 0; --d) {
    if (d == column_axis || t.size(d) == 1) continue;
    if (expected < 0) {
      out.row_stride = t.stride(d);
    } else if (t.stride(d) != expected) {
      return false;
    }
    expected = t.stride(d) * t.size(d);
  }
  out.data = t.const_data_ptr();
  return true;
}

}  // namespace

PostOpTensors bind_post_op_tensors(const kernels::Epilogue& epilogue, at::TensorList others,
                                   at::IntArrayRef shape, int64_t column_axis, const char* op) {
  PostOpTensors bound;
  add_epilogue_tensors(epilogue, others, shape, op, bound.owners);
  for (at::Tensor& tensor : bound.owners) {
    PostOpTensor descriptor{};
    if (!describe(tensor, column_axis, descriptor)) {
      tensor = tensor.movedim(column_axis, -1).contiguous();
      describe(tensor, tensor.dim() - 1, descriptor);
    }
    bound.descriptors.push_back(descriptor);
  }
  return bound;
}

}  // namespace ipex_quant::runtime
