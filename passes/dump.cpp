/// \file
/// Implements the debugging aids of the pass runner.
#include "passes/dump.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

#include "passes/ir.h"

namespace ipex_quant::passes {

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

}  // namespace

void dump_ir(const std::shared_ptr<Graph>& graph, std::size_t number, const std::string& name) {
  const std::string dir = variable("IPEX_QUANT_DUMP_IR");
  if (dir.empty()) {
    return;
  }
  std::array<char, 16> prefix{};
  std::snprintf(prefix.data(), prefix.size(), "%02zu-", number);
  const std::string path = dir + "/" + prefix.data() + name + ".ir";
  // Two processes may dump into one directory: each file is one of theirs, whole.
  const std::string temporary = path + "." + std::to_string(::getpid()) + ".tmp";
  std::ofstream file(temporary);
  file << canonical_text(graph);
  file.close();
  const bool written = file.good() && std::rename(temporary.c_str(), path.c_str()) == 0;
  if (!written) std::remove(temporary.c_str());
  TORCH_CHECK(written, "IPEX_QUANT_DUMP_IR: cannot write ", path,
              "; the directory must exist and be writable");
}

bool time_passes() {
  const std::string value = variable("IPEX_QUANT_TIME_PASSES");
  TORCH_CHECK(value.empty() || value == "0" || value == "1", "IPEX_QUANT_TIME_PASSES: got '", value,
              "', expected 0 or 1");
  return value == "1";
}

bool log_enabled(const std::string& part) {
  static const std::array<const char*, 4> kParts = {"fusion", "kernel", "pass", "site"};
  bool enabled = false;
  std::istringstream words(variable("IPEX_QUANT_LOG"));
  for (std::string word; std::getline(words, word, ',');) {
    TORCH_CHECK(std::find(kParts.begin(), kParts.end(), word) != kParts.end(),
                "IPEX_QUANT_LOG: unknown part '", word,
                "', expected a comma-separated list of fusion, kernel, pass, site");
    enabled = enabled || word == part;
  }
  return enabled;
}

void log(const std::string& part, const std::string& event, const std::string& text) {
  if (log_enabled(part)) {
    std::cerr << "ipex_quant," + part + "," + event + "," + text + "\n";
  }
}

}  // namespace ipex_quant::passes
