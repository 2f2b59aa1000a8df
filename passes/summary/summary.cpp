// Implements read_summary: what each field of the JSON must be, and the structs made of them.
#include "passes/summary/summary.h"

#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace ipex_quant::passes {

namespace {

using Json = nlohmann::json;

const char* const kSchema = "ipex_quant.summary";
constexpr std::int64_t kVersion = 1;
/// A summary nests 5 deep. Without a limit, text that nests for ever would end at the stack's end.
constexpr int kDeepest = 32;

/// A value as a message shows it: lists may hold thousands of numbers.
std::string shown(const Json& value) {
  if (value.is_array()) return "a list of " + std::to_string(value.size());
  if (value.is_object()) return "an object";
  const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 80 ? text.substr(0, 80) + "..." : text;
}

bool is_number(const Json& value) { return value.is_number(); }  // finite: the parser sees to it

/// Whether float32, which the kernels work in, can hold it and its reciprocal.
bool is_scale(const Json& value) {
  return value.is_number() && value.get<double>() > 0 &&
         std::isnormal(static_cast<float>(value.get<double>()));
}

bool is_list(const Json& value, bool (*test)(const Json&)) {
  return value.is_array() && std::all_of(value.begin(), value.end(), test);
}

bool is_scales(const Json& value) { return !value.empty() && is_list(value, is_scale); }

bool is_text(const Json& value) { return value.is_string(); }

bool is_object(const Json& value) { return value.is_object(); }

bool is_one_of(const Json& value, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(), [&](const char* word) { return value == word; });
}

bool is_within(const Json& value, std::int64_t low, std::int64_t high) {
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t(high)) return false;
  return value.get<std::int64_t>() >= low && value.get<std::int64_t>() <= high;
}

/// What a field must be: its name, the test, and the words for the error.
struct Field {
  const char* name;
  bool (*test)(const Json& value);
  const char* words;
};

// clang-format off
const std::vector<Field> kSiteFields = {
    {"site", [](const Json& v) { return is_text(v) && [](const std::string& key) {
       return std::count(key.begin(), key.end(), '/') >= 2; }(v.get<std::string>()); },
     "a text 'path/family/number'"},
    {"op", is_text, "a text"},
    {"decision", [](const Json& v) { return is_one_of(v, {"int8", "float"}); },
     "\"int8\" or \"float\""},
    {"reason", is_text, "a text"},
    {"operands", is_object, "an object"},
    {"bias_correction", [](const Json& v) { return v.is_null() || is_list(v, is_number); },
     "null or a list of numbers"},
};
const std::vector<Field> kOperandFields = {
    {"kind", [](const Json& v) { return is_one_of(v, {"activation", "weight", "ignored"}); },
     "activation or weight or ignored"},
};
const std::vector<Field> kWeightFields = {
    {"axis", [](const Json& v) { return is_within(v, 0, 1); }, "0 or 1"},
    {"scale", is_scales, "a list of finite numbers above 0"},
};
const std::vector<Field> kActivationFields = {
    {"mode", [](const Json& v) { return is_one_of(v, {"static", "dynamic"}); },
     "\"static\" or \"dynamic\""},
    {"channel_factor", [](const Json& v) { return v.is_null() || is_scales(v); },
     "null or a list of numbers above 0"},
};
const std::vector<Field> kStaticFields = {
    {"scale", is_scale, "a finite number above 0"},
    {"zero_point", [](const Json& v) { return is_within(v, 0, 255); }, "a whole number in 0..255"},
};
// clang-format on

void check_fields(const Json& value, const std::vector<Field>& fields, const std::string& where) {
  TORCH_CHECK(value.is_object(), where, " must be an object, got ", shown(value));
  for (const Field& field : fields) {
    const auto found = value.find(field.name);
    TORCH_CHECK(found != value.end(), where, " has no '", field.name, "'");
    TORCH_CHECK(field.test(*found), where, ": '", field.name, "' must be ", field.words, ", got ",
                shown(*found));
  }
}

at::Tensor floats(const Json& numbers) {
  return at::tensor(numbers.get<std::vector<double>>(), at::kDouble).to(at::kFloat);
}

at::Tensor floats_or_none(const Json& numbers) {
  return numbers.is_null() ? at::Tensor() : floats(numbers);
}

/// The value of a field, or null.
const Json& member(const Json& object, const char* name) {
  static const Json kNull;
  const auto found = object.find(name);
  return found == object.end() ? kNull : *found;
}

OperandParams read_operand(const std::string& name, const Json& fields, const std::string& where) {
  OperandParams params;
  params.name = name;
  params.kind = fields["kind"].get<std::string>();
  if (params.kind == "weight") {
    check_fields(fields, kWeightFields, where);
    params.scales = floats(fields["scale"]);
    params.axis = fields["axis"].get<std::int64_t>();
    return params;
  }
  check_fields(fields, kActivationFields, where);
  params.mode = fields["mode"].get<std::string>();
  params.channel_factor = floats_or_none(fields["channel_factor"]);
  if (params.mode == "static") {
    check_fields(fields, kStaticFields, where);
    params.scale = fields["scale"].get<double>();
    params.zero_point = fields["zero_point"].get<std::int64_t>();
  } else {
    // An observer is its name, or an object with its settings.
    const Json& observer = member(fields, "observer");
    params.per_tensor = observer.is_object() && member(observer, "granularity") == "tensor";
  }
  return params;
}

/// Whether a person asks for another observer than the one that gave the scales.
bool is_edited(const Json& operand) {
  const Json& wanted = member(operand, "observer");
  const auto used = operand.find("observed_with");
  // The order of an observer's arguments means nothing.
  return !wanted.is_null() && used != operand.end() && wanted != *used;
}

void read_site(const Json& entry, std::size_t number, Summary& summary) {
  const std::string& source = summary.source;
  check_fields(entry, kSiteFields, source + ": entry " + std::to_string(number) + " of 'sites'");
  SiteParams site;
  site.site = entry["site"].get<std::string>();
  site.int8 = entry["decision"] == "int8";
  site.reason = entry["reason"].get<std::string>();
  for (const auto& [name, operand] : entry["operands"].items()) {
    const std::string where = source + ": site '" + site.site + "', operand '" + name + "'";
    check_fields(operand, kOperandFields, where);
    if (!site.int8 || operand["kind"] == "ignored") continue;
    if (is_edited(operand)) {
      auto& edited = summary.to_calibrate;
      if (edited.empty() || edited.back() != site.site) edited.push_back(site.site);
      continue;
    }
    site.operands.push_back(read_operand(name, operand, where));
  }
  if (site.int8) site.bias_correction = floats_or_none(entry["bias_correction"]);
  summary.sites.push_back(std::move(site));
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "'" : ", '") + name + "'";
  return text.empty() ? "none" : text;
}

std::vector<std::string> only_in_first(const std::vector<std::string>& first,
                                       const std::vector<std::string>& second) {
  const std::set<std::string> known(second.begin(), second.end());
  std::vector<std::string> only;
  for (const std::string& name : first) {
    if (known.count(name) == 0) only.push_back(name);
  }
  return only;
}

void check_unique(const std::vector<std::string>& keys, const std::string& source) {
  std::set<std::string> known;
  std::vector<std::string> twice;
  for (const std::string& key : keys) {
    if (!known.insert(key).second) twice.push_back(key);
  }
  TORCH_CHECK(twice.empty(), source, " lists sites twice: ", listed(twice));
}

/// A value that is destroyed without taking memory. The library's own destructor takes some, and
/// ends the process where there is none; this one descends, no deeper than parse() lets it.
class Document {
 public:
  explicit Document(Json value) : value_(std::move(value)) {}
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;
  ~Document() { empty(value_); }
  const Json& value() const { return value_; }

 private:
  static void empty(Json& value) {
    if (!value.is_structured()) return;
    for (Json& inner : value) empty(inner);
    value.clear();
  }

  Json value_;
};

Json parse(const std::string& text, const std::string& source) {
  const auto shallow = [&](int depth, Json::parse_event_t /*event*/, const Json& /*value*/) {
    TORCH_CHECK(depth <= kDeepest, source, " is corrupted, it nests deeper than ", kDeepest);
    return true;
  };
  try {
    return Json::parse(text, shallow);
  } catch (const Json::exception& error) {
    TORCH_CHECK(false, source, " is corrupted, it is not JSON: ", error.what(),
                "; write it again with save_qconf_summary()");
  }
}

}  // namespace

Summary read_summary(const std::string& json, const std::string& source) {
  const Document document(parse(json, source));
  const Json& root = document.value();
  TORCH_CHECK(root.is_object() && member(root, "schema") == kSchema, source,
              " is not a summary of ipex_quant: expected a JSON object with \"schema\": \"",
              kSchema, "\"");
  const Json& version = member(root, "version");
  TORCH_CHECK(is_within(version, 1, kVersion), source, " has version ", shown(version),
              "; this ipex_quant reads versions up to ", kVersion,
              ", so update it or calibrate again");
  const Json& sites = member(root, "sites");
  TORCH_CHECK(sites.is_array(), source, " has no list 'sites'");
  const Json& opaque = member(root, "opaque");
  TORCH_CHECK(is_list(opaque, is_text), source, " has no list of module paths 'opaque'");

  Summary summary;
  summary.source = source;
  summary.opaque = opaque.get<std::vector<std::string>>();
  for (std::size_t number = 0; number < sites.size(); ++number) {
    read_site(sites[number], number, summary);
  }
  check_unique(keys_of(summary.sites), source);
  const Json& untraced = member(root, "untraced");
  TORCH_CHECK(untraced.is_null() || is_list(untraced, is_text), source,
              ": 'untraced' must be a list of sites, got ", shown(untraced));
  for (const Json& site : untraced) {
    SiteParams params;
    params.site = site.get<std::string>();
    params.reason = "the trace drops this call: its result is not used there";
    summary.untraced.push_back(std::move(params));
  }
  return summary;
}

void check_same_sites(const std::vector<std::string>& of_model,
                      const std::vector<std::string>& of_summary, const std::string& model,
                      const std::string& source) {
  if (of_model == of_summary) return;
  const auto only_model = only_in_first(of_model, of_summary);
  const auto only_summary = only_in_first(of_summary, of_model);
  if (only_model.empty() && only_summary.empty()) {
    const auto moved =
        std::mismatch(of_model.begin(), of_model.end(), of_summary.begin(), of_summary.end());
    TORCH_CHECK(false, source, " has the sites of ", model, " in another order, from '",
                moved.first == of_model.end() ? *moved.second : *moved.first,
                "' on; it was made from another version of the model, so calibrate again");
  }
  TORCH_CHECK(false, source, " does not fit ", model, "; sites only in ", model, ": ",
              listed(only_model), "; sites only in ", source, ": ", listed(only_summary),
              "; it was made from another model or another version of it, so calibrate again");
}

void check_calibrated(const Summary& summary) {
  TORCH_CHECK(summary.to_calibrate.empty(), summary.source,
              " names observers that gave none of its scales, at the sites ",
              listed(summary.to_calibrate),
              "; load it with load_qconf_summary(), calibrate, and trace the prepared model again");
}

std::vector<std::string> keys_of(const std::vector<SiteParams>& sites) {
  std::vector<std::string> keys;
  for (const SiteParams& site : sites) keys.push_back(site.site);
  return keys;
}

}  // namespace ipex_quant::passes
