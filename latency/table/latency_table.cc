// SPDX-License-Identifier: Apache-2.0
#include "latency/table/latency_table.h"

#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/json_depth.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "space/network_blocks.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFormat[] = "forall.latency_table.1";
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

absl::StatusOr<double> LatencyTable::Sum(const Network& network) const {
  FORALL_ASSIGN_OR_RETURN(const std::vector<std::string> keys, TableKeys(network));
  const auto found = resolutions.find(static_cast<int32_t>(network.input.height));
  if (found == resolutions.end()) {
    return absl::NotFoundError(
        absl::StrCat("the table has no rows for resolution ", network.input.height, ", only for ",
                     absl::StrJoin(resolutions, ", ", [](std::string* out, const auto& entry) {
                       absl::StrAppend(out, entry.first);
                     })));
  }
  const LatencyRows& rows = found->second;
  double sum = 0;
  std::vector<std::string> missing;
  for (const std::string& key : keys) {
    const auto row = rows.find(key);
    if (row == rows.end()) {
      missing.push_back(key);
    } else {
      sum += row->second.mean_ms;
    }
  }
  if (missing.empty()) return sum;
  const size_t count = missing.size();
  if (count > kMostKeysListed) missing.resize(kMostKeysListed);
  return absl::NotFoundError(absl::StrCat("the table lacks ", count, " of the network's ",
                                          keys.size(), " layers: ", absl::StrJoin(missing, ", "),
                                          count > kMostKeysListed ? ", ..." : ""));
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

std::string SerializeLatencyTable(const LatencyTable& table) {
  Json json;
  json["format"] = kFormat;
  json["device"] = table.conditions.device;
  json["runtime"] = table.conditions.runtime;
  json["threads"] = table.conditions.threads;
  json["batch"] = table.conditions.batch;
  json["unit"] = "ms";
  json["date"] = table.conditions.date;
  json["resolutions"] = Json::object();
  for (const auto& [resolution, rows] : table.resolutions) {
    Json& out = json["resolutions"][absl::StrCat(resolution)];
    out = Json::object();
    for (const auto& [key, row] : rows) {
      out[key] = {{"mean", row.mean_ms}, {"std", row.stddev_ms}, {"count", row.count}};
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
  if (format != kFormat) {
    return absl::InvalidArgumentError(
        absl::StrCat("format: \"", format, "\" is not known; this build reads \"", kFormat, "\""));
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
        key != "batch" && key != "unit" && key != "date" && key != "resolutions") {
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
  return table;
}

}  // namespace forall
