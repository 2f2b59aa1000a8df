/// \file
/// Reads the summary: the JSON text in which the ranges and decisions of all sites are saved.
#pragma once

#include <string>
#include <vector>

#include "passes/quant/site_params.h"

namespace ipex_quant::passes {

/// What the compiler needs of a summary. The text holds more, for people and for calibration.
struct Summary {
  std::string source;               ///< where it is from, for errors
  std::vector<std::string> opaque;  ///< paths of the modules whose ops are no sites
  std::vector<SiteParams> sites;    ///< all sites of the model in order of execution
  /// Sites of calls that a trace has not got, with the reason: as the model names them where the
  /// summary of a trace lists them, the others quantize() moves here.
  std::vector<SiteParams> untraced;
  /// int8 sites with an operand whose observer was edited: calibration is still to measure it.
  std::vector<std::string> to_calibrate;
};

/// Parses and checks a summary. `source` names it in errors: "the file 'a.json'".
/// Throws when it is no JSON, something else, of a newer version, or a field is out of range.
Summary read_summary(const std::string& json, const std::string& source);

/// Throws unless the sites of a summary are those of a model, in this order. The error lists all
/// others; `model` and `source` name the two sides in it.
void check_same_sites(const std::vector<std::string>& of_model,
                      const std::vector<std::string>& of_summary, const std::string& model,
                      const std::string& source);

/// Throws when sites are still to be calibrated.
void check_calibrated(const Summary& summary);

/// The keys of the sites, in order.
std::vector<std::string> keys_of(const std::vector<SiteParams>& sites);

}  // namespace ipex_quant::passes
