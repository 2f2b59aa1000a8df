/// \file
/// The text form of an epilogue, as it stands in a packing op's argument and in a saved file.
///
/// Steps are joined by "|" and run from left to right: "add_u8(0.0123,118)|relu|quantize(0.02,0)".
/// "" stores float32. Behind quantize may stand "table(...)" with the 256 bytes that are stored for
/// the 256 codes, as hexadecimal digits. Floats are printed with "%.9g", so that a float32 survives
/// the round trip.
#pragma once

#include <string>

#include "kernels/epilogue.h"

namespace ipex_quant::runtime {

/// Reads a chain. \throws c10::Error naming the step when it is unknown, has the wrong number of
/// arguments or an argument out of range, when quantize is not last, or when the chain is too long.
kernels::Epilogue parse_epilogue(const std::string& text);

/// Writes a chain; parse_epilogue(format_epilogue(e)) is e.
std::string format_epilogue(const kernels::Epilogue& epilogue);

/// Number of tensors that the chain reads: the expected length of an op's `others`.
int tensor_count(const kernels::Epilogue& epilogue);

}  // namespace ipex_quant::runtime
