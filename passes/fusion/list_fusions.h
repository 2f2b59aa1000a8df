/// \file
/// The built-in fusions as text, read off the tables that the passes use.
#pragma once

#include <string>
#include <vector>

namespace ipex_quant::passes {

/// One built-in fusion.
struct ListedFusion {
  std::string part;     ///< which table: "kernel", "post-op", "table", "moves"
  std::string op;       ///< what is found: "aten::relu"
  std::string becomes;  ///< operator of ipex_quant, or epilogue steps; empty for "moves"
  std::string ends_in;  ///< of a kernel: what it can do to its result before it stores it
};

/// All of them: by part, then in the order of the tables.
std::vector<ListedFusion> list_fusions();

}  // namespace ipex_quant::passes
