/// \file
/// The quantized tensors of a graph of torch's quantization, and the float values that they stand
/// for.
#pragma once

#include <unordered_map>
#include <unordered_set>

#include "passes/ir.h"

namespace ipex_quant::passes {

/// A tensor of torch's quantized dtypes, or the codes of quantized_decomposed.
struct QuantizedTensor {
  Value* real = nullptr;  ///< what it stands for, behind a quantize/dequantize pair
  double scale = 1;
  std::int64_t zero_point = 0;         ///< that of uint8 codes
  at::ScalarType dtype = at::kQUInt8;  ///< its own: a quantized dtype, or kByte, kChar

  /// The zero point in its own dtype.
  std::int64_t own_zero_point() const {
    return dtype == at::kQInt8 || dtype == at::kChar ? zero_point - 128 : zero_point;
  }
};

/// Keeps what each quantized value of a graph stands for, and writes pairs and weights.
class QuantizedValues {
 public:
  explicit QuantizedValues(const std::shared_ptr<Graph>& graph) : graph_(graph) {}

  /// What a value stands for, or nullptr when it is not known to be quantized.
  const QuantizedTensor* find(const Value* value) const;
  /// Notes that `value` stands for `tensor.real`.
  void set(const Value* value, const QuantizedTensor& tensor) { known_[value] = tensor; }

  /// `x` behind a quantize/dequantize pair at the insert point; `low` and `high` are the codes of
  /// uint8 that it may take. The pair inherits from `node`.
  QuantizedTensor quantized(Value* x, double scale, std::int64_t zero_point, at::ScalarType dtype,
                            Node* node, std::int64_t low = 0, std::int64_t high = 255);

  /// A constant quantized tensor of torch as float, at the insert point: int8 codes behind
  /// dequantize_weight where they are symmetric, else a float constant. Codes outside of `range`
  /// (in the tensor's own dtype) take its bounds.
  Value* weight(const at::Tensor& constant, const std::vector<std::int64_t>& range, Node* node);

  /// Removes the quantized tensors that nothing reads; what reads one still gets one that is made
  /// from its float value.
  void write_back();

 private:
  /// Removes the nodes of quantized tensors that nothing reads any more.
  void remove_unread();
  bool is_within(Value* x, double scale, std::int64_t zero_point, std::int64_t low,
                 std::int64_t high) const;

  std::shared_ptr<Graph> graph_;
  std::unordered_map<const Value*, QuantizedTensor> known_;
  /// Dequantized values of fewer than 256 codes: the codes.
  std::unordered_map<const Value*, std::pair<std::int64_t, std::int64_t>> ranges_;
};

/// "iq_fixed" int: the codes of this dequantize_weight come from the traced graph, so that nothing
/// but what the graph quantizes may be quantized with it.
c10::Symbol fixed_attr();

/// "iq_restored" int: this aten::quantize_per_tensor makes what had no rewrite read its input
/// again.
c10::Symbol restored_attr();

}  // namespace ipex_quant::passes
