// SPDX-License-Identifier: Apache-2.0
#include "latency/table/latency_table.h"

#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/json_depth.h"
#include "base/json_members.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "space/network_blocks.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;
static_assert(kMostTableCount == JsonMembers::kMostCount);

constexpr char kFormat[] = "forall.latency_table.1";
constexpr char kMeasuredFormat[] = "forall.latency_table.2";
constexpr size_t kMaxRows = 1000000;
constexpr size_t kMostKeysListed = 5;

std::string Shape(const FeatureShape& shape) {
  return absl::StrCat(shape.height, "x", shape.width, "x", shape.channels);
}

std::string LayerKey(const char* name, const Layer& layer) {
  return absl::StrCat(name, "-input:", Shape(layer.in), "-output:", Shape(layer.out));
}

std::string BlockKey(const InvertedBlock& block) {
  return absl::StrCat("expanded_conv-input:", Shape(block.in), "-output:", Shape(block.out),
                      "-expand:", block.middle, "-kernel:", block.kernel, "-stride:", block.stride,
                      "-idskip:", block.shortcut ? 1 : 0, "-se:", block.squeeze_excite ? 1 : 0,
                      "-hs:", block.activation == Activation::kHSwish ? 1 : 0);
}

absl::Status AtLine(size_t line, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", message));
}

absl::Status SetField(absl::string_view name, absl::string_view text, size_t line,
                      double milliseconds, LatencyRow* row) {
  double value = 0;
  if (!absl::SimpleAtod(text, &value) || !std::isfinite(value)) {
    return AtLine(line, absl::StrCat(name, " is not a number"));
  }
  if (name == "mean") {
    row->mean_ms = value * milliseconds;
  } else if (name == "std") {
    row->stddev_ms = value * milliseconds;
  } else if (name == "count" && value >= 0 && value <= 1e15) {
    row->count = static_cast<int64_t>(value);
  } else {
    return AtLine(line, absl::StrCat("want count, mean or std, not \"", name, "\""));
  }
  return absl::OkStatus();
}

// The subset of YAML that these tables are written in: a key and a colon at the start of a line,
// its fields indented below. A whole YAML reader would also follow anchors, of which a few lines
// unfold into gigabytes.
absl::StatusOr<LatencyRows> ParseYaml(absl::string_view text, double milliseconds) {
  LatencyRows rows;
  LatencyRow* row = nullptr;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripTrailingAsciiWhitespace(line);
    if (line.empty() || line[0] == '#' || line == "---") continue;
    const bool indented = line[0] == ' ';
    line = absl::StripLeadingAsciiWhitespace(line);
    const size_t colon = line.rfind(':');
    if (colon == absl::string_view::npos) return AtLine(number, "has no colon");
    const absl::string_view name = line.substr(0, colon);
    const absl::string_view value = absl::StripLeadingAsciiWhitespace(line.substr(colon + 1));
    if (!indented) {
      if (!value.empty()) return AtLine(number, "a key's fields stand below it, indented");
      const auto [it, inserted] = rows.emplace(std::string(name), LatencyRow());
      if (!inserted) return AtLine(number, absl::StrCat("key ", name, " is there twice"));
      if (rows.size() > kMaxRows) return AtLine(number, "too many rows");
      row = &it->second;
      continue;
    }
    if (row == nullptr) return AtLine(number, "a field without a key above it");
    FORALL_RETURN_IF_ERROR(SetField(name, value, number, milliseconds, row));
  }
  return rows;
}

absl::StatusOr<LatencyRow> RowFromJson(const std::string& key, const Json& json,
                                       double milliseconds) {
  const auto number = [&](const char* name, bool required) -> absl::StatusOr<double> {
    const auto value = json.find(name);
    if (value == json.end() && !required) return 0.0;
    if (value == json.end() || !value->is_number() || !std::isfinite(value->get<double>())) {
      return absl::InvalidArgumentError(absl::StrCat(key, ".", name, ": must be a number"));
    }
    return value->get<double>();
  };
  if (!json.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(key, ": must be {mean, std, count}"));
  }
  LatencyRow row;
  FORALL_ASSIGN_OR_RETURN(const double mean, number("mean", true));
  FORALL_ASSIGN_OR_RETURN(const double stddev, number("std", false));
  FORALL_ASSIGN_OR_RETURN(const double count, number("count", false));
  if (count < 0 || count > 1e15) {
    return absl::InvalidArgumentError(absl::StrCat(key, ".count: must not be negative"));
  }
  row.mean_ms = mean * milliseconds;
  row.stddev_ms = stddev * milliseconds;
  row.count = static_cast<int64_t>(count);
  if (const auto noisy = json.find("noisy"); noisy != json.end()) {
    if (!noisy->is_boolean()) {
      return absl::InvalidArgumentError(absl::StrCat(key, ".noisy: must be true or false"));
    }
    row.noisy = noisy->get<bool>();
  }
  return row;
}

absl::StatusOr<LatencyRows> RowsFromJson(const Json& json, double milliseconds) {
  if (!json.is_object() || json.size() > kMaxRows) {
    return absl::InvalidArgumentError("rows: must be an object of keys and rows");
  }
  LatencyRows rows;
  for (const auto& [key, value] : json.items()) {
    FORALL_ASSIGN_OR_RETURN(rows[key], RowFromJson(key, value, milliseconds));
  }
  return rows;
}

Json ToJson(const TableQuality& quality) {
  return {{"mean_relative_error", quality.mean_relative_error},
          {"bias", quality.bias},
          {"within_5_percent", quality.within_5_percent},
          {"within_10_percent", quality.within_10_percent},
          {"within_15_percent", quality.within_15_percent},
          {"within_bound", quality.within_bound},
          {"largest_relative_error", quality.largest_relative_error},
          {"kendall_tau", quality.kendall_tau},
          {"spearman_rho", quality.spearman_rho}};
}

Json ToJson(const TableValidation& validation) {
  Json json = {{"good", validation.good},
               {"networks", validation.networks},
               {"seed", validation.seed},
               {"bound", validation.bound},
               {"additive", ToJson(validation.additive)}};
  if (validation.corrected.has_value()) json["corrected"] = ToJson(*validation.corrected);
  return json;
}

Json ToJson(const TableCorrection& correction) {
  Json json = {{"networks", correction.networks},
               {"scale", correction.scale},
               {"block_offset", correction.block_offset_ms},
               {"row_deviation", correction.row_deviation},
               {"noise", correction.noise},
               {"intercept", correction.intercept_ms},
               {"rows", Json::object()}};
  for (const auto& [resolution, rows] : correction.rows_ms) {
    json["rows"][absl::StrCat(resolution)] = rows;
  }
  return json;
}

absl::StatusOr<TableQuality> QualityFromJson(const Json& json, const std::string& path) {
  TableQuality quality;
  JsonMembers reader(json, path + ".");
  reader.RequireReal("mean_relative_error", &quality.mean_relative_error);
  reader.RequireReal("bias", &quality.bias);
  reader.RequireReal("within_5_percent", &quality.within_5_percent);
  reader.RequireReal("within_10_percent", &quality.within_10_percent);
  reader.RequireReal("within_15_percent", &quality.within_15_percent);
  reader.RequireReal("within_bound", &quality.within_bound);
  reader.RequireReal("largest_relative_error", &quality.largest_relative_error);
  reader.RequireReal("kendall_tau", &quality.kendall_tau);
  reader.RequireReal("spearman_rho", &quality.spearman_rho);
  FORALL_RETURN_IF_ERROR(reader.Finish());
  return quality;
}

absl::StatusOr<TableValidation> ValidationFromJson(const Json& json) {
  TableValidation validation;
  JsonMembers reader(json, "validation.");
  reader.RequireFlag("good", &validation.good);
  reader.RequireCount("networks", &validation.networks);
  reader.RequireCount("seed", &validation.seed);
  reader.RequireReal("bound", &validation.bound);
  const Json* const additive = reader.Require("additive");
  const Json* const corrected = reader.Find("corrected");
  FORALL_RETURN_IF_ERROR(reader.Finish());
  FORALL_ASSIGN_OR_RETURN(validation.additive, QualityFromJson(*additive, "validation.additive"));
  if (corrected != nullptr) {
    FORALL_ASSIGN_OR_RETURN(validation.corrected,
                            QualityFromJson(*corrected, "validation.corrected"));
  }
  return validation;
}

// One value for every row of the table, so that what can be summed can be corrected.
absl::StatusOr<TableCorrection> CorrectionFromJson(const Json& json, const LatencyTable& table) {
  TableCorrection correction;
  JsonMembers reader(json, "correction.");
  reader.RequireCount("networks", &correction.networks);
  reader.RequireReal("scale", &correction.scale);
  reader.RequireReal("block_offset", &correction.block_offset_ms);
  reader.RequireReal("row_deviation", &correction.row_deviation);
  reader.RequireReal("noise", &correction.noise);
  reader.RequireReal("intercept", &correction.intercept_ms);
  const Json* const rows = reader.Require("rows");
  FORALL_RETURN_IF_ERROR(reader.Finish());
  if (!rows->is_object() || rows->size() != table.resolutions.size()) {
    return absl::InvalidArgumentError("correction.rows: must have the table's resolutions");
  }
  for (const auto& [resolution, of_resolution] : table.resolutions) {
    const std::string path = absl::StrCat("correction.rows.", resolution);
    const auto values = rows->find(absl::StrCat(resolution));
    if (values == rows->end() || !values->is_object() || values->size() != of_resolution.size()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": must have the table's rows"));
    }
    JsonMembers fields(*values, path + ".");
    for (const auto& [key, row] : of_resolution) {
      fields.RequireReal(key.c_str(), &correction.rows_ms[resolution][key]);
    }
    FORALL_RETURN_IF_ERROR(fields.Finish());
  }
  return correction;
}

// Refuses keys that are given twice, of which the JSON library would keep the last.
absl::StatusOr<Json> ParseJsonObject(absl::string_view text) {
  FORALL_RETURN_IF_ERROR(CheckJsonDepth(text));
  std::vector<std::set<std::string>> open;
  std::string twice;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key &&
        !open.back().insert(parsed.get<std::string>()).second) {
      twice = parsed.get<std::string>();
    }
    return true;
  };
  Json json = Json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  if (!twice.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("key ", twice, " is there twice"));
  }
  if (json.is_discarded() || !json.is_object()) {
    return absl::InvalidArgumentError("is not a JSON object");
  }
  return json;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> TableKeys(const Network& network) {
  FORALL_ASSIGN_OR_RETURN(const NetworkParts parts, SplitIntoBlocks(network));
  std::vector<std::string> keys = {LayerKey("Conv", *parts.stem)};
  for (const InvertedBlock& block : parts.blocks) keys.push_back(BlockKey(block));
  const bool mobilenet = parts.final_expand != nullptr;
  keys.push_back(LayerKey("Conv_1", mobilenet ? *parts.final_expand : *parts.feature_mix));
  keys.push_back(LayerKey("AvgPool2D", *parts.pool));
  if (mobilenet) keys.push_back(LayerKey("Conv_2", *parts.feature_mix));
  keys.push_back(absl::StrCat("Logits-input:", Shape(parts.classifier->in),
                              "-output:", parts.classifier->out.channels));
  return keys;
}

size_t LatencyTable::rows() const {
  size_t count = 0;
  for (const auto& [resolution, of_resolution] : resolutions) count += of_resolution.size();
  return count;
}

namespace {

// `value_of` gives what the row of a key holds, or nullptr.
template <typename ValueOf>
absl::StatusOr<double> SumOf(const std::vector<std::string>& keys, ValueOf value_of) {
  double sum = 0;
  std::vector<std::string> missing;
  for (const std::string& key : keys) {
    const double* const value = value_of(key);
    if (value == nullptr) {
      missing.push_back(key);
    } else {
      sum += *value;
    }
  }
  if (missing.empty()) return sum;
  const size_t count = missing.size();
  if (count > kMostKeysListed) missing.resize(kMostKeysListed);
  return absl::NotFoundError(absl::StrCat("the table lacks ", count, " of the network's ",
                                          keys.size(), " layers: ", absl::StrJoin(missing, ", "),
                                          count > kMostKeysListed ? ", ..." : ""));
}

template <typename Resolutions>
absl::StatusOr<const typename Resolutions::mapped_type*> RowsAt(const Resolutions& resolutions,
                                                                int32_t resolution) {
  const auto found = resolutions.find(resolution);
  if (found != resolutions.end()) return &found->second;
  return absl::NotFoundError(
      absl::StrCat("the table has no rows for resolution ", resolution, ", only for ",
                   absl::StrJoin(resolutions, ", ", [](std::string* out, const auto& entry) {
                     absl::StrAppend(out, entry.first);
                   })));
}

}  // namespace

absl::StatusOr<double> LatencyTable::AdditiveSum(const std::vector<std::string>& keys,
                                                 int32_t resolution) const {
  FORALL_ASSIGN_OR_RETURN(const LatencyRows* const rows, RowsAt(resolutions, resolution));
  return SumOf(keys, [rows](const std::string& key) {
    const auto row = rows->find(key);
    return row == rows->end() ? nullptr : &row->second.mean_ms;
  });
}

absl::StatusOr<double> LatencyTable::CorrectedSum(const std::vector<std::string>& keys,
                                                  int32_t resolution) const {
  if (!correction.has_value()) {
    return absl::FailedPreconditionError("the table has no correction");
  }
  FORALL_ASSIGN_OR_RETURN(const auto* const rows, RowsAt(correction->rows_ms, resolution));
  FORALL_ASSIGN_OR_RETURN(const double sum, SumOf(keys, [rows](const std::string& key) {
                            const auto row = rows->find(key);
                            return row == rows->end() ? nullptr : &row->second;
                          }));
  return correction->intercept_ms + sum;
}

absl::StatusOr<double> LatencyTable::Sum(const Network& network) const {
  FORALL_ASSIGN_OR_RETURN(const std::vector<std::string> keys, TableKeys(network));
  const int32_t resolution = static_cast<int32_t>(network.input.height);
  return correction.has_value() ? CorrectedSum(keys, resolution) : AdditiveSum(keys, resolution);
}

absl::StatusOr<LatencyRows> ParsePublishedTable(absl::string_view text, double milliseconds) {
  const absl::string_view start = absl::StripLeadingAsciiWhitespace(text);
  LatencyRows rows;
  if (!start.empty() && start[0] == '{') {
    FORALL_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(text));
    FORALL_ASSIGN_OR_RETURN(rows, RowsFromJson(json, milliseconds));
  } else {
    FORALL_ASSIGN_OR_RETURN(rows, ParseYaml(text, milliseconds));
  }
  if (rows.empty()) return absl::InvalidArgumentError("the table has no rows");
  return rows;
}

absl::Status AddRows(LatencyRows rows, LatencyTable* table) {
  std::set<int32_t> resolutions;
  for (const auto& [key, row] : rows) {
    absl::string_view rest = key;
    int32_t height = 0;
    // "Conv-input:224x224x3-output:..."
    if (absl::ConsumePrefix(&rest, "Conv-input:") &&
        absl::SimpleAtoi(rest.substr(0, rest.find('x')), &height) && height > 0) {
      resolutions.insert(height);
    }
  }
  if (resolutions.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a file holds one resolution, which its row Conv-input:... says; it has ",
                     resolutions.size()));
  }
  if (!table->resolutions.emplace(*resolutions.begin(), std::move(rows)).second) {
    return absl::InvalidArgumentError(
        absl::StrCat("resolution ", *resolutions.begin(), " is there already, from another file"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> WritePublishedTable(const LatencyTable& table, int32_t resolution) {
  FORALL_ASSIGN_OR_RETURN(const LatencyRows* const rows, RowsAt(table.resolutions, resolution));
  const std::map<std::string, double>* corrected = nullptr;
  if (table.correction.has_value()) {
    FORALL_ASSIGN_OR_RETURN(corrected, RowsAt(table.correction->rows_ms, resolution));
  }
  std::string text;
  const auto comment = [&text](absl::string_view name, absl::string_view value) {
    absl::StrAppend(&text, "# ", name, ": ", absl::StrReplaceAll(value, {{"\n", " "}, {"\r", " "}}),
                    "\n");
  };
  const TableConditions& conditions = table.conditions;
  comment("device", conditions.device);
  comment("runtime", conditions.runtime);
  comment("threads", absl::StrCat(conditions.threads));
  comment("batch", absl::StrCat(conditions.batch));
  comment("unit", "ms");
  comment("date", conditions.date);
  for (const auto& [name, value] : table.provenance) comment(name, value);
  comment("rows", corrected == nullptr
                      ? "as measured, each alone"
                      : absl::StrCat("corrected by ", table.correction->networks,
                                     " whole networks; std and count are of the row alone"));
  if (table.validation.has_value()) {
    const TableValidation& validation = *table.validation;
    const TableQuality& quality = validation.corrected.value_or(validation.additive);
    comment("validation",
            absl::StrFormat("%s: %d networks, mean error %.1f %%, %.1f %% within %g %%, Kendall "
                            "%.3f",
                            validation.good ? "good" : "NOT GOOD", validation.networks,
                            100 * quality.mean_relative_error, 100 * quality.within_bound,
                            100 * validation.bound, quality.kendall_tau));
  }
  for (const auto& [key, row] : *rows) {
    double mean = row.mean_ms;
    if (corrected != nullptr) {
      const auto value = corrected->find(key);
      if (value != corrected->end()) mean = value->second;
      if (absl::StartsWith(key, "Conv-input:")) mean += table.correction->intercept_ms;
      if (!(mean > 0)) {
        return absl::FailedPreconditionError(
            absl::StrCat("resolution ", resolution, ": with the correction's intercept, ",
                         table.correction->intercept_ms, " ms, ", key, " would take ", mean,
                         " ms, which the authors' tools cannot use; take the table as JSON, or "
                         "build it without a correction (--fit-subnets 0)"));
      }
    }
    if (row.noisy) absl::StrAppend(&text, "# noisy:\n");
    absl::StrAppend(&text, key, ":\n  count: ", row.count, "\n  mean: ", Json(mean).dump(),
                    "\n  std: ", Json(row.stddev_ms).dump(), "\n");
  }
  return text;
}

std::string SerializeLatencyTable(const LatencyTable& table) {
  const bool measured =
      !table.provenance.empty() || table.correction.has_value() || table.validation.has_value();
  Json json;
  json["format"] = measured ? kMeasuredFormat : kFormat;
  json["device"] = table.conditions.device;
  json["runtime"] = table.conditions.runtime;
  json["threads"] = table.conditions.threads;
  json["batch"] = table.conditions.batch;
  json["unit"] = "ms";
  json["date"] = table.conditions.date;
  if (!table.provenance.empty()) json["provenance"] = table.provenance;
  if (table.validation.has_value()) json["validation"] = ToJson(*table.validation);
  if (table.correction.has_value()) json["correction"] = ToJson(*table.correction);
  json["resolutions"] = Json::object();
  for (const auto& [resolution, rows] : table.resolutions) {
    Json& out = json["resolutions"][absl::StrCat(resolution)];
    out = Json::object();
    for (const auto& [key, row] : rows) {
      out[key] = {{"mean", row.mean_ms}, {"std", row.stddev_ms}, {"count", row.count}};
      if (row.noisy) out[key]["noisy"] = true;
    }
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<LatencyTable> ParseLatencyTable(absl::string_view text) {
  FORALL_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(text));
  const auto text_of = [&](const char* name) -> absl::StatusOr<std::string> {
    const auto value = json.find(name);
    if (value != json.end() && value->is_string() && !value->get<std::string>().empty()) {
      return value->get<std::string>();
    }
    return absl::InvalidArgumentError(absl::StrCat(name, ": must be a non-empty string"));
  };
  const auto count_of = [&](const char* name) -> absl::StatusOr<int32_t> {
    const auto value = json.find(name);
    if (value != json.end() && value->is_number_integer() && *value >= 1 && *value <= 1000000) {
      return value->get<int32_t>();
    }
    return absl::InvalidArgumentError(absl::StrCat(name, ": must be a positive integer"));
  };
  FORALL_ASSIGN_OR_RETURN(const std::string format, text_of("format"));
  if (format != kFormat && format != kMeasuredFormat) {
    return absl::InvalidArgumentError(absl::StrCat("format: \"", format,
                                                   "\" is not known; this build reads \"", kFormat,
                                                   "\" and \"", kMeasuredFormat, "\""));
  }
  LatencyTable table;
  FORALL_ASSIGN_OR_RETURN(table.conditions.device, text_of("device"));
  FORALL_ASSIGN_OR_RETURN(table.conditions.runtime, text_of("runtime"));
  FORALL_ASSIGN_OR_RETURN(table.conditions.threads, count_of("threads"));
  FORALL_ASSIGN_OR_RETURN(table.conditions.batch, count_of("batch"));
  FORALL_ASSIGN_OR_RETURN(table.conditions.date, text_of("date"));
  FORALL_ASSIGN_OR_RETURN(const std::string unit, text_of("unit"));
  if (unit != "ms") {
    return absl::InvalidArgumentError(absl::StrCat("unit: \"", unit, "\" must be \"ms\""));
  }
  for (const auto& [key, value] : json.items()) {
    if (key != "format" && key != "device" && key != "runtime" && key != "threads" &&
        key != "batch" && key != "unit" && key != "date" && key != "resolutions" &&
        (format == kFormat ||
         (key != "provenance" && key != "correction" && key != "validation"))) {
      return absl::InvalidArgumentError(absl::StrCat(key, ": unknown field"));
    }
  }
  const auto resolutions = json.find("resolutions");
  if (resolutions == json.end() || !resolutions->is_object()) {
    return absl::InvalidArgumentError("resolutions: must be an object");
  }
  for (const auto& [name, rows] : resolutions->items()) {
    int32_t resolution = 0;
    if (!absl::SimpleAtoi(name, &resolution) || resolution < 1 ||
        absl::StrCat(resolution) != name) {
      return absl::InvalidArgumentError(
          absl::StrCat("resolutions.", name, ": must be a number of pixels"));
    }
    FORALL_ASSIGN_OR_RETURN(table.resolutions[resolution], RowsFromJson(rows, 1));
  }
  if (const auto value = json.find("provenance"); value != json.end()) {
    if (!value->is_object()) return absl::InvalidArgumentError("provenance: must be an object");
    for (const auto& [name, text_value] : value->items()) {
      if (!text_value.is_string()) {
        return absl::InvalidArgumentError(absl::StrCat("provenance.", name, ": must be a string"));
      }
      table.provenance[name] = text_value.get<std::string>();
    }
  }
  if (const auto value = json.find("correction"); value != json.end()) {
    FORALL_ASSIGN_OR_RETURN(table.correction, CorrectionFromJson(*value, table));
  }
  if (const auto value = json.find("validation"); value != json.end()) {
    FORALL_ASSIGN_OR_RETURN(table.validation, ValidationFromJson(*value));
  }
  return table;
}

}  // namespace forall
