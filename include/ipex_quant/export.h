/// \file
/// IPEX_QUANT_API: marks what the shared libraries export; everything else is hidden.
#pragma once

#define IPEX_QUANT_API __attribute__((visibility("default")))
