// Implements compile().
#include "passes/freeze/compile.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <sstream>

#include "ipex_quant/steady.h"
#include "passes/ir.h"
#include "passes/quant/fold_factors.h"
#include "passes/report.h"
#include "passes/sites/assign_sites.h"

namespace ipex_quant::passes {

namespace {

std::string listed(const std::vector<std::string>& names) {
  std::ostringstream text;
  for (const std::string& name : names) text << "\n  " << name;
  return names.empty() ? " none" : text.str();
}

void check_sites(const std::shared_ptr<Graph>& graph, const std::vector<SiteParams>& sites) {
  std::vector<std::string> given;
  std::set<std::string> known;
  for (const SiteParams& site : sites) {
    TORCH_CHECK(known.insert(site.site).second, "site '", site.site, "' is given twice");
    given.push_back(site.site);
  }
  const std::vector<std::string> found = list_sites(graph);
  const bool complete = std::all_of(
      found.begin(), found.end(), [&](const std::string& name) { return known.count(name) != 0; });
  TORCH_CHECK(complete,
              "the sites given do not match those of the graph; calibrate the same model that is "
              "compiled\nsites of the graph:",
              listed(found), "\nsites given:", listed(given));
}

/// The properties that a normalized module has.
Properties normalized_properties() {
  Properties properties = kNone;
  for (const Pass& pass : normalize_passes()) properties |= pass.gives;
  return properties;
}

/// Removes what the passes wrote on the nodes for each other.
void strip_attributes(const std::shared_ptr<Graph>& graph) {
  for (Node* node : all_nodes(graph)) {
    for (const c10::Symbol name : node->attributeNames()) {
      if (std::string(name.toUnqualString()).rfind("iq_", 0) == 0) node->removeAttribute(name);
    }
  }
}

at::Tensor bytes(const std::string& text) {
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(text.size())}, at::kByte);
  std::memcpy(tensor.mutable_data_ptr<std::uint8_t>(), text.data(), text.size());
  return tensor;
}

}  // namespace

Compiled compile(const torch::jit::Module& normalized, const std::vector<SiteParams>& sites,
                 const std::vector<Fusion>& fusions,
                 const std::vector<std::string>& preserved_attrs, Target target,
                 const std::vector<SiteParams>& untraced) {
  check_names(fusions);
  FusionLog fusion_log;
  std::vector<Fusion> logged = fusions;
  for (Fusion& fusion : logged) fusion.log = &fusion_log;
  const std::vector<OriginalOp> ops = original_ops(normalized);
  torch::jit::Module module = normalized.clone();
  const auto graph = module.get_method("forward").graph();
  check_sites(graph, sites);

  const KeptFloat kept = kept_float(graph, sites);
  std::vector<SiteParams> fitted = sites;
  fold_factors(graph, fitted);

  PassContext context;
  context.module = &module;
  context.preserved_attrs = preserved_attrs;
  context.sites = &fitted;
  context.fusions = &logged;
  run_pipeline(compile_passes(target), graph, context, normalized_properties());

  Compiled compiled{module, report_json(graph, ops, kept, fusion_log, untraced)};
  strip_attributes(graph);
  if (module.hasattr(kOriginalOpsAttribute))
    module.type()->unsafeRemoveAttribute(kOriginalOpsAttribute);
  module.register_attribute(kReportAttribute, c10::TensorType::get(), bytes(compiled.report));
  make_steady(module);
  return compiled;
}

}  // namespace ipex_quant::passes
