// Reads CPUID and the environment; keeps the current cap.
#include "kernels/isa.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#ifdef IPEX_QUANT_X86
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

#include "kernels/emulate.h"

namespace ipex_quant::kernels {
namespace {

struct Isa {
  const char* name;
  Features features;
};

// clang-format off
constexpr Isa kIsas[] = {
    {"reference",   kNoFeature},
    {"avx2",        kAvx2},
    {"avx2_vnni",   kAvx2 | kAvxVnni},
    {"avx512",      kAvx2 | kAvx512},
    {"avx512_vnni", kAvx2 | kAvx512 | kAvx512Vnni},
    {"avx512_amx",  kAvx2 | kAvx512 | kAvx512Vnni | kAmxInt8},
};
// clang-format on

// A cap lets through the optional features of the ISA's generation, too.
Features allowed_by(const Isa& isa) {
  Features allowed = isa.features;
  if (isa.features & kAvx512Vnni) allowed |= kAvxVnni | kAvx512Vbmi;
  return allowed;
}

const Isa& find_isa(const std::string& name, const char* where) {
  for (const Isa& isa : kIsas) {
    if (name == isa.name) return isa;
  }
  std::string known;
  for (const Isa& isa : kIsas) known += std::string(known.empty() ? "" : ", ") + isa.name;
  throw std::invalid_argument(std::string(where) + ": unknown ISA '" + name +
                              "'; expected one of: " + known);
}

#ifdef IPEX_QUANT_X86
uint64_t xgetbv0() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

/// Asks the system to save the tile registers of this process: it does so for those who ask only.
bool may_use_tiles() {
#ifdef __linux__
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

Features detect() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return kNoFeature;
  const bool osxsave = (c >> 27) & 1;
  const bool fma = (c >> 12) & 1;
  if (!osxsave) return kNoFeature;
  const uint64_t saved = xgetbv0();
  const bool ymm_saved = (saved & 0x6) == 0x6;
  const bool zmm_saved = (saved & 0xe6) == 0xe6;

  uint32_t b7 = 0, c7 = 0, d7 = 0;
  if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return kNoFeature;
  const uint32_t max_subleaf = a;
  uint32_t a71 = 0, unused = 0;
  if (max_subleaf >= 1) __get_cpuid_count(7, 1, &a71, &unused, &unused, &unused);

  Features found = kNoFeature;
  if (!ymm_saved || !fma || !((b7 >> 5) & 1)) return found;
  found |= kAvx2;
  if ((a71 >> 4) & 1) found |= kAvxVnni;
  const bool f = (b7 >> 16) & 1, dq = (b7 >> 17) & 1, bw = (b7 >> 30) & 1, vl = (b7 >> 31) & 1;
  if (zmm_saved && f && dq && bw && vl) {
    found |= kAvx512;
    if ((c7 >> 11) & 1) found |= kAvx512Vnni;
    if ((c7 >> 1) & 1) found |= kAvx512Vbmi;
    const bool amx_tile = (d7 >> 24) & 1, amx_int8 = (d7 >> 25) & 1;
    const bool tiles_saved = (saved & 0x60000) == 0x60000;
    if (amx_tile && amx_int8 && tiles_saved && may_use_tiles()) found |= kAmxInt8;
  }
  return found;
}
#else
Features detect() { return kNoFeature; }
#endif

/// What an emulating build can run: it encodes no instruction of these two.
Features emulated(Features found) {
  constexpr Features kEmulated = kAvxVnni | kAmxInt8;
  return covers(found, kAvx512 | kAvx512Vnni) ? found | kEmulated : found & ~kEmulated;
}

constexpr Features kUnset = ~Features{0};
std::atomic<Features> g_allowed{kUnset};

Features allowed_by_environment() {
  const char* name = std::getenv("IPEX_QUANT_ISA");
  if (name == nullptr || *name == '\0') return kUnset;
  return allowed_by(find_isa(name, "IPEX_QUANT_ISA"));
}

}  // namespace

Features cpu_features() {
  static const Features features = kEmulate ? emulated(detect()) : detect();
  return features;
}

Features active_features() {
  const Features allowed = g_allowed.load(std::memory_order_relaxed);
  if (allowed != kUnset) return cpu_features() & allowed;
  static const Features from_environment = allowed_by_environment();
  return cpu_features() & from_environment;
}

void set_isa_cap(const std::string& name) {
  if (name.empty()) {
    g_allowed = kUnset;
    return;
  }
  const Isa& isa = find_isa(name, "set_isa_cap");
  if (!covers(cpu_features(), isa.features)) {
    throw std::invalid_argument("set_isa_cap: this CPU has no " + name + "; its best is " +
                                isa_name(cpu_features()));
  }
  g_allowed = allowed_by(isa);
}

Features features_of_isa(const std::string& name) {
  return find_isa(name, "features_of_isa").features;
}

std::string isa_name(Features features) {
  const char* best = "reference";
  for (const Isa& isa : kIsas) {
    if (covers(features, isa.features)) best = isa.name;
  }
  return best;
}

const std::vector<std::string>& isa_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Isa& isa : kIsas) all.emplace_back(isa.name);
    return all;
  }();
  return names;
}

}  // namespace ipex_quant::kernels
