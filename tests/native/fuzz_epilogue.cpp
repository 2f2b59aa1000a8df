// libFuzzer: an epilogue text is refused with a c10::Error, or read; what is printed reads the
// same.
#include <c10/util/Exception.h>

#include <cstdlib>
#include <string>

#include "runtime/epilogue_text.h"

using ipex_quant::runtime::format_epilogue;
using ipex_quant::runtime::parse_epilogue;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::string printed;
  try {
    printed = format_epilogue(parse_epilogue(text));
  } catch (const c10::Error&) {
    return 0;
  }
  if (format_epilogue(parse_epilogue(printed)) != printed) std::abort();
  return 0;
}
