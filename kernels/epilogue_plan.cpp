// Chooses the form of an epilogue and folds clamps into the bounds of quantize.
#include "kernels/epilogue_plan.h"

#include <cmath>

namespace ipex_quant::kernels {
namespace {

bool is_clamp(PostOpKind kind) { return kind == PostOpKind::kRelu || kind == PostOpKind::kClamp; }

/// Whether the chain is kScaleAddFloat, and with what.
bool find_scale_add(EpiloguePlan& plan) {
  const PostOp* op = plan.chain.ops;
  const PostOp* end = op + plan.chain.count;
  if (op != end && op->kind == PostOpKind::kMulScalar) plan.factor = (op++)->a;
  plan.adds = op != end && op->kind == PostOpKind::kAddF32 && plan.tensors[0].col_stride == 1;
  return op + (plan.adds ? 1 : 0) == end;
}

float clamp(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

}  // namespace

EpiloguePlan plan_epilogue(const Epilogue& chain, const PostOpTensor* tensors) {
  EpiloguePlan plan;
  plan.chain = chain;
  int tensor = 0;
  for (int i = 0; i < chain.count; ++i) {
    if (reads_tensor(chain.ops[i].kind)) {
      plan.tensors[tensor] = tensors[tensor];
      ++tensor;
    }
  }
  if (!chain.quantize) {
    plan.form = chain.count == 0       ? EpilogueForm::kFloat
                : find_scale_add(plan) ? EpilogueForm::kScaleAddFloat
                                       : EpilogueForm::kChain;
    return plan;
  }
  const float lowest = static_cast<float>(0 - chain.zero_point);
  const float highest = static_cast<float>(255 - chain.zero_point);
  plan.low = lowest;
  plan.high = highest;
  // The trailing clamps, from the first of them: each clamps the bounds that the earlier ones left.
  int clamps = chain.count;
  while (clamps > 0 && is_clamp(chain.ops[clamps - 1].kind)) --clamps;
  if (clamps < chain.count) {
    float low = -__builtin_inff();
    float high = __builtin_inff();
    for (int i = clamps; i < chain.count; ++i) {
      const bool relu = chain.ops[i].kind == PostOpKind::kRelu;
      const float a = relu ? 0.0f : chain.ops[i].a;
      const float b = relu ? __builtin_inff() : chain.ops[i].b;
      low = clamp(low, a, b);
      high = clamp(high, a, b);
    }
    plan.low = clamp(low * chain.inv_scale, lowest, highest);
    plan.high = clamp(high * chain.inv_scale, lowest, highest);
  }
  plan.low_byte = static_cast<uint8_t>(std::nearbyint(plan.low) + chain.zero_point);
  plan.high_byte = static_cast<uint8_t>(std::nearbyint(plan.high) + chain.zero_point);
  plan.chain.count = clamps;
  if (chain.look_up) {
    plan.form = EpilogueForm::kChain;
  } else if (clamps == 0) {
    plan.form = EpilogueForm::kQuantize;
  } else if (clamps == 1 && chain.ops[0].kind == PostOpKind::kAddU8 &&
             plan.tensors[0].col_stride == 1) {
    plan.form = EpilogueForm::kAddU8Quantize;
  } else {
    plan.form = EpilogueForm::kChain;
  }
  return plan;
}

EpiloguePlan from_row(EpiloguePlan plan, int64_t first) {
  int tensor = 0;
  for (int i = 0; i < plan.chain.count; ++i) {
    const OperandType type = operand_type(plan.chain.ops[i].kind);
    if (type == OperandType::kNone) continue;
    PostOpTensor& t = plan.tensors[tensor++];
    const int64_t size = type == OperandType::kF32 ? sizeof(float) : 1;
    t.data = static_cast<const char*>(t.data) + first * t.row_stride * size;
  }
  return plan;
}

EpiloguePlan plan_accumulator() {
  EpiloguePlan plan;
  plan.form = EpilogueForm::kAccumulator;
  return plan;
}

}  // namespace ipex_quant::kernels
