// Implements kept_float and report_json.
#include "passes/report.h"

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <unordered_map>
#include <unordered_set>

#include "passes/freeze/use_bfloat16.h"
#include "passes/fusion/fuse_attention.h"
#include "passes/fusion/outline.h"
#include "passes/integers.h"
#include "passes/ir.h"
#include "passes/quant/capability.h"
#include "passes/quant/data_movement.h"
#include "passes/quant/insert_quant_dequant.h"
#include "passes/quant/plan.h"

namespace ipex_quant::passes {

const char* const kReportAttribute = "_ipex_quant_report";

namespace {

enum class Became { kRemoved, kInteger, kFloat, kPassThrough, kInt8 };  // the later one counts

const char* name_of(Became became) {
  switch (became) {
  case Became::kRemoved:
    return "removed";
  case Became::kInteger:
    return "integer";
  case Became::kFloat:
    return "float";
  case Became::kPassThrough:
    return "pass_through";
  case Became::kInt8:
    return "int8";
  }
  return "";
}

struct Entry {
  Became became = Became::kRemoved;
  std::string kernel;
  std::string epilogue;
  std::string reason;
};

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", c);
      out += code;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

bool is_ours(const Node* node) {
  return std::string(node->kind().ns().toUnqualString()) == "ipex_quant";
}

std::string epilogue_of(const Node* node) {
  const auto attribute = c10::Symbol::attr("iq_epilogue");
  return node->hasAttribute(attribute) ? node->s(attribute) : std::string();
}

/// Values that are int8 data in a compiled graph.
class Int8Values {
 public:
  explicit Int8Values(const std::shared_ptr<Graph>& graph) {
    for (Node* node : all_nodes(graph)) {
      if (makes_int8(node)) add_outputs(node);
    }
  }
  bool has(const Value* value) const { return values_.count(value) != 0; }

 private:
  bool makes_int8(const Node* node) const {
    if (is_op(node, {"ipex_quant::quantize", "ipex_quant::quantize_channels_last",
                     "ipex_quant::requantize", "ipex_quant::lut", "ipex_quant::cat",
                     "ipex_quant::max_pool", "ipex_quant::avg_pool", "ipex_quant::mean",
                     "ipex_quant::adaptive_avg_pool", "ipex_quant::adaptive_max_pool",
                     "ipex_quant::softmax", "ipex_quant::layer_norm_quantize",
                     "ipex_quant::rms_norm_quantize"})) {
      return true;
    }
    if (is_ours(node)) return epilogue_of(node).find("quantize(") != std::string::npos;
    if (node->kind() == c10::prim::ListUnpack || node->kind() == c10::prim::ListConstruct ||
        is_op(node, {"aten::cat", "aten::concat", "aten::stack"})) {
      return !node->inputs().empty() && has(node->input(0));
    }
    // On int8 data a pad fills with the zero point, which is no movement by the table.
    if (is_op(node, {"aten::pad", "aten::constant_pad_nd"})) return has(node->input(0));
    const Value* moved = moved_input(node);
    return moved != nullptr && has(moved);
  }

  void add_outputs(const Node* node) {
    if (is_op(node, {"ipex_quant::lstm", "ipex_quant::gru", "ipex_quant::embedding_bag"})) {
      values_.insert(node->output(0));  // states stay float
      return;
    }
    for (const Value* output : node->outputs()) values_.insert(output);
  }

  std::unordered_set<const Value*> values_;
};

/// A portable graph rounds what an int8 operator would read.
bool reads_fake_quantized(const Node* node) {
  const auto rounded = [](const Value* value) {
    return made_by(
        value, {"aten::fake_quantize_per_tensor_affine", "aten::fake_quantize_per_channel_affine"});
  };
  const auto inputs = node->inputs();
  return std::any_of(inputs.begin(), inputs.end(), [&](const Value* value) {
    if (!made_by(value, {"prim::ListConstruct"})) return rounded(value);
    const auto members = value->node()->inputs();
    return std::any_of(members.begin(), members.end(), rounded);
  });
}

/// What is worth knowing of an int8 operator that has no qparams for all that it rounds.
std::string int8_note(const Node* node, const Int8Values& int8) {
  if (!is_op(node, {"ipex_quant::lstm", "ipex_quant::lstm_sequences", "ipex_quant::gru",
                    "ipex_quant::gru_sequences"})) {
    return "";
  }
  const bool int8_input = int8.has(node->input(0));
  std::string note = int8_input ? "its hidden state takes" : "its input and hidden state take";
  note += " a scale per row at run time";
  return epilogue_of(node).empty() ? note : note + ", its output that of its reader";
}

bool lists(const Node* node, c10::Symbol attribute, std::int64_t id) {
  const auto& ids = node->is(attribute);
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

/// What became of one of the ops that an attention computes.
Entry attention_entry(const Node* node, std::int64_t id) {
  Entry entry;
  entry.kernel = node->kind().toQualString();
  if (lists(node, softmax_ids_attr(), id)) {
    entry.became = Became::kFloat;
    entry.reason = "it has float32 arithmetic only, between the two int8 products of this operator";
    return entry;
  }
  entry.became = Became::kInt8;
  const bool of_scores = lists(node, score_ids_attr(), id) && !lists(node, result_ids_attr(), id);
  entry.epilogue = of_scores ? node->s(scores_attr()) : epilogue_of(node);
  return entry;
}

/// The node of a user's rewrite reads int8 data, or its result is read as such.
bool touches_int8(const Node* node, const Int8Values& int8) {
  for (const Value* input : node->inputs()) {
    if (int8.has(input)) return true;
  }
  for (const Value* output : node->outputs()) {
    for (const torch::jit::Use& use : output->uses()) {
      if (is_op(use.user, {"ipex_quant::dequantize"})) return true;
    }
  }
  return false;
}

/// A cat whose tensors have the scale of its result: it only moves data.
bool only_joins(const Node* node) {
  if (!is_op(node, {"ipex_quant::cat"})) return false;
  const auto scales = torch::jit::toIValue(node->input(1));
  const auto zero_points = torch::jit::toIValue(node->input(2));
  if (!scales || !zero_points) return false;
  const auto same = [](const auto& all, const auto& one) {
    return std::all_of(all.begin(), all.end(), [&](auto each) { return one && each == *one; });
  };
  return same(scales->toDoubleVector(), constant_number(node->input(4))) &&
         same(zero_points->toIntVector(), constant_int(node->input(5)));
}

Entry entry_of(const Node* node, const Int8Values& int8, Integers& integers) {
  Entry entry;
  if (is_op(node, {"ipex_quant::softmax", "ipex_quant::layer_norm", "ipex_quant::group_norm",
                   "ipex_quant::layer_norm_quantize", "ipex_quant::rms_norm_quantize"})) {
    entry.became = Became::kFloat;
    entry.kernel = node->kind().toQualString();
    entry.reason = "it has float32 arithmetic only; this operator also quantizes its result";
    return entry;
  }
  if (node->hasAttribute(fusion_attr())) {
    entry.became = touches_int8(node, int8) ? Became::kInt8 : Became::kFloat;
    entry.kernel = node->kind().toQualString();
    if (entry.became == Became::kFloat) {
      entry.reason = "fusion '" + node->s(fusion_attr()) + "' made it " + entry.kernel;
    }
    return entry;
  }
  if (is_ours(node) && !only_joins(node)) {
    entry.became = Became::kInt8;
    entry.kernel = node->kind().toQualString();
    entry.epilogue = epilogue_of(node);
    entry.reason = int8_note(node, int8);
    return entry;
  }
  if (!node->outputs().empty() && int8.has(node->output(0))) {
    entry.became = Became::kPassThrough;
    return entry;
  }
  if (!node->outputs().empty() && integers.has(node->output(0))) {
    entry.became = Became::kInteger;
    entry.reason = "its result is integer or boolean";
    return entry;
  }
  entry.became = Became::kFloat;
  if (reads_fake_quantized(node)) {
    entry.reason = "portable: float32 arithmetic on values rounded as int8 rounds them";
    return entry;
  }
  if (node->hasAttribute(reason_attr())) {
    entry.reason = node->s(reason_attr());
  } else if (moved_input(node) != nullptr) {
    entry.reason = "moves float data";
  } else if (is_op(node, {"aten::rnn_tanh", "aten::rnn_relu"})) {
    entry.reason = "no int8 kernel for it in a trace; prepare() and convert() with a dynamic "
                   "QConfig exchange nn.RNN";
  } else {
    entry.reason = "no int8 kernel for this op";
  }
  if (node->hasAttribute(bfloat16_attr())) {
    entry.kernel = std::string(node->kind().toQualString()) + " in bfloat16";
  }
  return entry;
}

/// Where the op of `id` is computed, of a node that is one int8 operator.
std::string place_of(const Node* node, std::int64_t id, const std::vector<OriginalOp>& ops) {
  if (node->hasAttribute(anchor_attr())) {
    const auto& anchors = node->is(anchor_attr());
    if (std::find(anchors.begin(), anchors.end(), id) == anchors.end()) {
      const OriginalOp& anchor = ops.at(static_cast<std::size_t>(anchors.at(0)));
      return "computed in float32 in the epilogue of " + anchor.op + " " +
             std::to_string(anchor.index) +
             (anchor.module.empty() ? "" : " of '" + anchor.module + "'");
    }
  }
  if (is_op(node, {"ipex_quant::lut"})) {
    return "computed in float32 for each of the 256 codes of its input, which is int8 anyway";
  }
  return std::string("computed by ") + node->kind().toQualString() +
         " from operands that are int8 anyway";
}

/// What a node is for an op that was decided float. Passes may still let an int8 operator compute
/// it, where that gives the numbers of float32: nothing is rounded for its sake.
Entry kept_entry(const Node* node, Entry entry, std::int64_t id, const std::string& reason,
                 const std::vector<OriginalOp>& ops) {
  entry.reason = reason;
  if (moved_input(node) != nullptr && entry.became != Became::kFloat) {
    entry.became = Became::kPassThrough;
    entry.reason += "; it only moves data, which is int8 anyway";
  } else if (entry.became == Became::kInt8) {
    entry.became = Became::kFloat;
    entry.reason += "; " + place_of(node, id, ops);
  }
  return entry;
}

/// Of several nodes of one op the one with the highest rank says what became of it. What is left in
/// float of an op that was decided float counts more than the moves around it.
int rank_of(const Entry& entry, bool kept) {
  if (!kept) return static_cast<int>(entry.became);
  if (entry.became == Became::kFloat) return entry.kernel.empty() ? 2 : 3;
  return entry.became == Became::kPassThrough || entry.became == Became::kInteger ? 1 : 0;
}

}  // namespace

KeptFloat kept_float(const std::shared_ptr<Graph>& graph, const std::vector<SiteParams>& sites) {
  std::unordered_map<std::string, std::string> reasons;
  for (const SiteParams& site : sites) {
    if (!site.int8) reasons[site.site] = site.float_reason();
  }
  KeptFloat kept;
  for (Node* node : all_nodes(graph)) {
    const auto reason = reasons.find(site_of(node).value_or(""));
    if (reason == reasons.end() || reads_quantized(node)) continue;
    for (const std::int64_t id : ids_of(node)) kept[id] = reason->second;
  }
  return kept;
}

std::string report_json(const std::shared_ptr<Graph>& graph, const std::vector<OriginalOp>& ops,
                        const KeptFloat& kept, const FusionLog& fusions,
                        const std::vector<SiteParams>& untraced) {
  std::map<std::int64_t, Entry> entries;
  const Int8Values int8(graph);
  Integers integers;
  for (const Node* node : all_nodes(graph)) {
    const auto ids = ids_of(node);
    if (ids.empty()) continue;
    const bool attention = is_op(node, {"ipex_quant::attention"});
    const Entry of_all = entry_of(node, int8, integers);
    for (const std::int64_t id : ids) {
      const Entry entry = attention ? attention_entry(node, id) : of_all;
      const auto reason = kept.find(id);
      const bool is_kept = reason != kept.end();
      const Entry own = is_kept ? kept_entry(node, entry, id, reason->second, ops) : entry;
      Entry& known = entries[id];
      if (rank_of(own, is_kept) > rank_of(known, is_kept)) known = own;
    }
  }
  std::ostringstream json;
  json << "{\"version\":1,\"ops\":[";
  for (std::size_t id = 0; id < ops.size(); ++id) {
    const Entry& entry = entries[static_cast<std::int64_t>(id)];
    json << (id == 0 ? "" : ",") << "{\"module\":" << quoted(ops[id].module)
         << ",\"op\":" << quoted(ops[id].op) << ",\"index\":" << ops[id].index
         << ",\"became\":" << quoted(name_of(entry.became))
         << ",\"kernel\":" << quoted(entry.kernel) << ",\"epilogue\":" << quoted(entry.epilogue)
         << ",\"reason\":" << quoted(entry.reason) << "}";
  }
  json << "],\"fusions\":[";
  for (std::size_t i = 0; i < fusions.outcomes.size(); ++i) {
    const FusionOutcome& outcome = fusions.outcomes[i];
    json << (i == 0 ? "" : ",") << "{\"name\":" << quoted(outcome.fusion) << ",\"ops\":[";
    for (std::size_t k = 0; k < outcome.ids.size(); ++k)
      json << (k == 0 ? "" : ",") << outcome.ids[k];
    json << "],\"refusal\":" << quoted(outcome.refusal) << "}";
  }
  json << "],\"untraced\":[";
  for (std::size_t i = 0; i < untraced.size(); ++i) {
    json << (i == 0 ? "" : ",") << "{\"site\":" << quoted(untraced[i].site)
         << ",\"reason\":" << quoted(untraced[i].reason) << "}";
  }
  json << "]}";
  return json.str();
}

}  // namespace ipex_quant::passes
