/// \file
/// An epilogue made ready to run: its tensors, and which fast form of it applies.
#pragma once

#include "kernels/epilogue.h"

namespace ipex_quant::kernels {

/// The form that a kernel picks its code by; every form gives the bits of the chain run step by
/// step.
enum class EpilogueForm : uint8_t {
  kAccumulator,    ///< the int32 sums themselves; scale, bias and chain are unused
  kFloat,          ///< y
  kQuantize,       ///< clamps, then quantize
  kAddU8Quantize,  ///< y + u8 operand, clamps, then quantize
  kScaleAddFloat,  ///< y * factor, then perhaps + f32 operand: scores of attention
  kChain,          ///< anything else
};

/// What a kernel needs to finish a result.
struct EpiloguePlan {
  Epilogue chain;
  PostOpTensor tensors[kMaxPostOpTensors] = {};  ///< one per step that reads a tensor, in order
  EpilogueForm form = EpilogueForm::kFloat;
  /// Bounds of y / scale before rounding: the range of u8 narrowed by the clamps that stand
  /// directly before quantize. Same bits as clamping y: multiplication by a positive number is
  /// monotone.
  float low = 0;
  float high = 255;
  /// The same bounds as bytes: of the rounded values plus the zero point.
  uint8_t low_byte = 0;
  uint8_t high_byte = 255;
  float factor = 1;  ///< of kScaleAddFloat; 1 changes no bit
  bool adds = false;
};

/// Plans a chain; `tensors` has one entry per tensor-reading step (may be null when there is none).
EpiloguePlan plan_epilogue(const Epilogue& chain, const PostOpTensor* tensors = nullptr);

/// The same plan with row `first` of its tensors as row 0.
EpiloguePlan from_row(EpiloguePlan plan, int64_t first);

/// The plan of a kernel that stores its int32 sums.
EpiloguePlan plan_accumulator();

}  // namespace ipex_quant::kernels
