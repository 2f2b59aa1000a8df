// Implements quantize() for the binding, and the public call of the same name for C++ programs.
#include "passes/quantize.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <set>

#include "ipex_quant/compile.h"
#include "passes/fusion/fusion.h"
#include "passes/quant/fold_factors.h"
#include "passes/report.h"

namespace ipex_quant {

namespace passes {

namespace {

std::string text_of(const at::Tensor& bytes) {
  const at::Tensor plain = bytes.cpu().contiguous();
  return {reinterpret_cast<const char*>(plain.const_data_ptr<std::uint8_t>()),
          static_cast<std::size_t>(plain.numel())};
}

/// "fc/linear" of "fc/linear/0".
std::string family_of(const std::string& site) { return site.substr(0, site.rfind('/')); }

/// Sets the sites aside of calls that did not come into the trace: dead ones, such as the mean of
/// the weights that nn.MultiheadAttention returns beside its result, and those inside of a
/// torch.autograd.Function. Where a module has some calls of a family in the trace but not all,
/// which of them are missing is not known: those sites stay, and do not fit. Nor does a summary fit
/// that lacks sites of the trace; its error lists them all.
void drop_untraced_sites(const torch::jit::Module& traced,
                         const std::vector<std::string>& sites_of_trace, Summary& summary) {
  std::vector<SiteParams>& sites = summary.sites;
  std::set<std::string> known;
  for (const SiteParams& params : sites) known.insert(params.site);
  const bool has_all = std::all_of(sites_of_trace.begin(), sites_of_trace.end(),
                                   [&](const std::string& site) { return known.count(site) != 0; });
  if (!has_all) return;
  std::set<std::string> modules = {""};
  for (const auto& named : traced.named_modules()) modules.insert(named.name);
  std::set<std::string> families;
  for (const std::string& site : sites_of_trace) families.insert(family_of(site));
  const auto is_traced = [&](const SiteParams& params) {
    const std::string family = family_of(params.site);
    return families.count(family) != 0 || modules.count(family.substr(0, family.rfind('/'))) == 0;
  };
  const auto first = std::stable_partition(sites.begin(), sites.end(), is_traced);
  for (auto site = first; site != sites.end(); ++site) {
    const std::string family = family_of(site->site);
    const std::size_t slash = family.rfind('/');
    site->reason = "no " + family.substr(slash + 1) + " of " +
                   (slash == 0 ? "the model itself" : "'" + family.substr(0, slash) + "'") +
                   " is in the trace: its result is not used, or it is inside of a "
                   "torch.autograd.Function";
    summary.untraced.push_back(std::move(*site));
  }
  sites.erase(first, sites.end());
}

}  // namespace

const char* const kSummaryBuffer = "_ipex_quant_state";

std::optional<Summary> summary_of(const torch::jit::Module& traced) {
  if (!traced.hasattr(kSummaryBuffer)) return std::nullopt;
  const c10::IValue value = traced.attr(kSummaryBuffer);
  if (!value.isTensor() || value.toTensor().numel() == 0) return std::nullopt;
  const at::Tensor& buffer = value.toTensor();
  TORCH_CHECK(buffer.scalar_type() == at::kByte && buffer.dim() == 1, "the buffer ", kSummaryBuffer,
              " of the traced module is corrupted: expected uint8 of one dimension, got ",
              buffer.scalar_type(), " of ", buffer.dim());
  return read_summary(text_of(buffer), "the summary inside the traced module");
}

Compiled quantize(const torch::jit::Module& traced, Summary summary,
                  const std::vector<Fusion>& fusions,
                  const std::vector<std::string>& preserved_attrs, Target target) {
  const Normalized normalized = normalize(traced, summary.opaque, preserved_attrs);
  follow_folded_norms(normalized.module.get_method("forward").graph(), summary.sites);
  drop_untraced_sites(traced, normalized.sites, summary);
  return compile_by_summary(normalized, summary, fusions, preserved_attrs, target);
}

Compiled compile_by_summary(const Normalized& normalized, const Summary& summary,
                            const std::vector<Fusion>& fusions,
                            const std::vector<std::string>& preserved_attrs, Target target) {
  check_calibrated(summary);
  check_same_sites(normalized.sites, keys_of(summary.sites), "the traced module",
                   "the calibration");
  return compile(normalized.module, summary.sites, fusions, preserved_attrs, target,
                 summary.untraced);
}

}  // namespace passes

torch::jit::Module quantize(const torch::jit::Module& traced, const QuantizeOptions& options) {
  auto summary = options.summary.empty()
                     ? passes::summary_of(traced)
                     : passes::read_summary(options.summary, "the summary given");
  TORCH_CHECK(summary.has_value(),
              "the traced module has no qparams: trace a model that went through prepare() and "
              "calibration in Python, or give a summary");
  std::vector<passes::Fusion> fusions;
  for (const Fusion& fusion : options.fusions) {
    const auto on = fusion.on == FusionOn::kInt8 ? passes::On::kInt8 : passes::On::kFloat;
    fusions.push_back(passes::rewrite_fusion(
        fusion.name, passes::parse_fusion_ir(fusion.name, "pattern", fusion.pattern),
        passes::parse_fusion_ir(fusion.name, "rewrite", fusion.rewrite), on, {}));
  }
  return passes::quantize(traced, std::move(*summary), fusions, options.preserved_attrs).module;
}

std::string report(const torch::jit::Module& quantized) {
  TORCH_CHECK(quantized.hasattr(passes::kReportAttribute),
              "the module has no report: expected one that ipex_quant quantized");
  return passes::text_of(quantized.attr(passes::kReportAttribute).toTensor());
}

}  // namespace ipex_quant
