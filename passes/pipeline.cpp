/// \file
/// The pipeline table and its runner.
#include "passes/pipeline.h"

#include <c10/util/Exception.h>

#include <chrono>
#include <iostream>
#include <new>
#include <set>
#include <sstream>

#include "passes/dump.h"
#include "passes/freeze/bind.h"
#include "passes/freeze/use_bfloat16.h"
#include "passes/fusion/apply_fusions.h"
#include "passes/fusion/fuse.h"
#include "passes/fusion/fuse_attention.h"
#include "passes/fusion/fuse_cells.h"
#include "passes/fusion/fuse_norms.h"
#include "passes/fusion/merge_linears.h"
#include "passes/fusion/recognize_activations.h"
#include "passes/fusion/recognize_norms.h"
#include "passes/ir.h"
#include "passes/normalize/adopt_quantization.h"
#include "passes/normalize/canonicalize_conv.h"
#include "passes/normalize/canonicalize_linear.h"
#include "passes/normalize/decompose.h"
#include "passes/normalize/expand_einsum.h"
#include "passes/normalize/expand_glu.h"
#include "passes/normalize/expand_transformer.h"
#include "passes/normalize/fold_batch_norm.h"
#include "passes/normalize/fold_channel_affine.h"
#include "passes/normalize/fold_pad.h"
#include "passes/normalize/fold_splits.h"
#include "passes/normalize/freeze.h"
#include "passes/normalize/remove_casts.h"
#include "passes/normalize/remove_dropout.h"
#include "passes/normalize/remove_mutation.h"
#include "passes/normalize/settle_fake_quant.h"
#include "passes/normalize/sink_permutes.h"
#include "passes/normalize/unflatten_linear.h"
#include "passes/normalize/view_to_reshape.h"
#include "passes/quant/fold_sizes.h"
#include "passes/quant/insert_quant_dequant.h"
#include "passes/quant/propagate.h"
#include "passes/quant/sink_shape_queries.h"
#include "passes/quant/split_shared_dequantize.h"
#include "passes/quant/write_portable.h"
#include "passes/sites/assign_sites.h"
#include "passes/sites/inline_calls.h"
#include "passes/verify.h"

namespace ipex_quant::passes {

namespace {

// clang-format off
//   name                        run                                needs                       gives
const std::vector<Pass> kPipeline = {
    {"inline-calls",             plain<inline_calls>,               kNone,                      kInlined},
    {"expand-transformer",       plain<expand_transformer>,         kInlined,                   kNone},
    {"assign-sites",             assign_sites,                      kInlined,                   kSites},
    {"settle-fake-quant",        settle_fake_quant,                 kSites,                     kNone},
    {"freeze",                   freeze,                            kSites,                     kFrozen},
    {"remove-dropout",           plain<remove_dropout>,             kFrozen,                    kNone},
    {"remove-mutation",          plain<remove_mutation>,            kFrozen,                    kFunctional},
    {"adopt-quantization",       plain<adopt_quantization>,         kFunctional,                kNone},
    {"fold-splits",              plain<fold_splits>,                kFrozen | kFunctional,      kNone},
    {"canonicalize-conv",        plain<canonicalize_conv>,          kFrozen,                    kNone},
    {"canonicalize-linear",      plain<canonicalize_linear>,        kFrozen,                    kCanonical},
    {"decompose",                plain<decompose>,                  kFrozen,                    kDecomposed},
    {"expand-einsum",            plain<expand_einsum>,              kFrozen,                    kNone},
    {"expand-glu",               plain<expand_glu>,                 kFrozen,                    kNone},
    {"remove-casts",             plain<remove_casts>,               kCanonical,                 kNone},
    {"view-to-reshape",          plain<view_to_reshape>,            kFunctional,                kNone},
    {"unflatten-linear",         plain<unflatten_linear>,           kFunctional | kCanonical,   kNone},
    {"sink-permutes",            plain<sink_permutes>,              kFunctional | kCanonical,   kNone},
    {"fold-channel-affine",      plain<fold_channel_affine>,        kFunctional | kCanonical,   kNone},
    {"fold-batch-norm",          plain<fold_batch_norm>,            kFunctional | kCanonical,   kBatchNormFolded},
    {"fold-pad",                 plain<fold_pad>,                   kCanonical,                 kNone},
    {"recognize-activations",    plain<recognize_activations>,      kFunctional,                kNone},
    {"recognize-norms",          plain<recognize_norms>,            kFunctional,                kNone},
    {"fold-sizes",              plain<fold_sizes>,                 kFunctional,                kNone},
    {"sink-shape-queries",       plain<sink_shape_queries>,         kFunctional,                kNone},
    {"apply-fusions",            apply_fusions,                     kCanonical | kSites,        kNone},
    {"fuse-cells",               fuse_cells,                        kFunctional | kSites,       kNone},
    {"insert-quant-dequant",     insert_quant_dequant,              kCanonical | kSites,        kQuantized},
    {"split-shared-dequantize",  plain<split_shared_dequantize>,    kFunctional,                kUniqueDequantize},
    {"propagate",                plain<propagate>,                  kUniqueDequantize,          kPropagated},
    {"fuse",                     fuse,                              kPropagated,                kFused},
    {"merge-linears",            plain<merge_linears>,              kFused,                     kNone},
    {"fuse-norms",               plain<fuse_norms>,                 kFused,                     kNone},
    {"fuse-attention",           plain<fuse_attention>,             kFused,                     kNone},
    {"bind",                     plain<bind>,                       kFused,                     kBound},
    {"use-bfloat16",             plain<use_bfloat16>,               kBound,                     kNone},
    {"write-portable",           plain<write_portable>,             kQuantized,                 kNone},
};
// clang-format on

/// The first row of compile.
const char* const kFirstOfCompile = "apply-fusions";
/// The rows that a portable graph needs, but for its last.
const char* const kCells = "fuse-cells";
const char* const kInsert = "insert-quant-dequant";
/// The last rows, which only some targets take.
const char* const kBfloat16 = "use-bfloat16";
const char* const kPortable = "write-portable";

std::size_t row_number(const std::string& name) {
  const auto& rows = pipeline();
  std::size_t number = 0;
  while (number < rows.size() && name != rows[number].name) {
    ++number;
  }
  return number;
}

/// Throws an error again with the name of the pass in front of its message.
[[noreturn]] void rethrow(const Pass& pass, const char* message) {
  TORCH_CHECK(false, "pass '", pass.name, "': ", message);
}

bool run_row(const Pass& pass, const std::shared_ptr<Graph>& graph, PassContext& context) {
  const auto start = std::chrono::steady_clock::now();
  bool changed = false;
  try {
    changed = pass.run(graph, context);
    verify(graph, pass.name);
  } catch (const c10::Error& error) {
    rethrow(pass, error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    rethrow(pass, "out of memory; the module given is unchanged, free memory and try again");
  }
  if (time_passes()) {
    const std::chrono::duration<double, std::milli> elapsed =
        std::chrono::steady_clock::now() - start;
    std::cerr << "ipex_quant,pass,time," << pass.name << "," << elapsed.count() << " ms\n";
  }
  if (changed) {
    dump_ir(graph, row_number(pass.name), pass.name);
  }
  log("pass", changed ? "changed" : "unchanged", pass.name);
  return changed;
}

}  // namespace

const std::vector<Pass>& pipeline() {
  static const bool kUnique = [] {
    std::set<std::string> names;
    for (const Pass& pass : kPipeline) {
      TORCH_CHECK(names.insert(pass.name).second, "pass '", pass.name,
                  "' stands twice in the pipeline table");
    }
    return true;
  }();
  (void)kUnique;
  return kPipeline;
}

std::vector<Pass> normalize_passes() {
  const auto& rows = pipeline();
  return {rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(row_number(kFirstOfCompile))};
}

std::vector<Pass> compile_passes(Target target) {
  if (target == Target::kPortable) {
    return {find_pass(kCells), find_pass(kInsert), find_pass(kPortable)};
  }
  const auto& rows = pipeline();
  const char* end = target == Target::kBfloat16 ? kPortable : kBfloat16;
  return {rows.begin() + static_cast<std::ptrdiff_t>(row_number(kFirstOfCompile)),
          rows.begin() + static_cast<std::ptrdiff_t>(row_number(end))};
}

const Pass& find_pass(const std::string& name) {
  const std::size_t number = row_number(name);
  if (number == pipeline().size()) {
    std::ostringstream names;
    for (const Pass& pass : pipeline()) {
      names << ' ' << pass.name;
    }
    TORCH_CHECK(false, "no pass '", name, "', expected one of:", names.str());
  }
  return pipeline()[number];
}

Properties run_pipeline(const std::vector<Pass>& rows, const std::shared_ptr<Graph>& graph,
                        PassContext& context, Properties have) {
  for (const Pass& pass : rows) {
    const Properties missing = pass.needs & ~have;
    TORCH_CHECK(missing == 0, "pass '", pass.name, "' needs ", property_names(missing),
                ", which no pass before it gives");
    run_row(pass, graph, context);
    have |= pass.gives;
  }
  return have;
}

bool run_pass(const std::string& name, const std::shared_ptr<Graph>& graph, PassContext& context) {
  return run_row(find_pass(name), graph, context);
}

std::string property_names(Properties properties) {
  static const std::vector<std::pair<Property, const char*>> kNames = {
      {kInlined, "kInlined"},
      {kSites, "kSites"},
      {kFrozen, "kFrozen"},
      {kFunctional, "kFunctional"},
      {kCanonical, "kCanonical"},
      {kDecomposed, "kDecomposed"},
      {kBatchNormFolded, "kBatchNormFolded"},
      {kQuantized, "kQuantized"},
      {kUniqueDequantize, "kUniqueDequantize"},
      {kPropagated, "kPropagated"},
      {kFused, "kFused"},
      {kBound, "kBound"}};
  std::string text;
  for (const auto& [property, name] : kNames) {
    if ((properties & property) != 0) {
      text += (text.empty() ? "" : "|") + std::string(name);
    }
  }
  return text.empty() ? "kNone" : text;
}

}  // namespace ipex_quant::passes
