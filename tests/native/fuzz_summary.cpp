// libFuzzer: the text of a summary is refused with a c10::Error, or read with all fields in range.
#include <ATen/ATen.h>

#include <cstdlib>
#include <string>

#include "passes/summary/summary.h"

using ipex_quant::passes::OperandParams;
using ipex_quant::passes::SiteParams;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check(const SiteParams& site) {
  require(site.int8 || site.operands.empty());
  for (const OperandParams& operand : site.operands) {
    if (operand.kind == "weight") {
      require(operand.scales.numel() > 0 && (operand.scales > 0).all().item<bool>());
    } else if (operand.mode == "static") {
      require(operand.scale > 0 && operand.zero_point >= 0 && operand.zero_point <= 255);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const std::string text(reinterpret_cast<const char*>(data), size);
    for (const SiteParams& site : ipex_quant::passes::read_summary(text, "the text").sites) {
      check(site);
    }
  } catch (const c10::Error&) {
  }
  return 0;
}
