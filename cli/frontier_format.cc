// SPDX-License-Identifier: Apache-2.0
#include "cli/frontier_format.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cli/expressions.h"
#include "cli/text_table.h"
#include "nlohmann/json.hpp"
#include "space/metric_registry.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

// Metrics that a person wants to see in few digits.
std::string Quantity(const std::string& metric, double value) {
  if (metric == "macs" || metric == "params") return absl::StrFormat("%.2f M", value / 1e6);
  if (metric == "model_bytes" || metric == "peak_activation_bytes") {
    return absl::StrFormat("%.0f KiB", value / 1024);
  }
  if (metric == "latency_ms") return absl::StrFormat("%.3f", value);
  return absl::StrFormat("%.2f", value);
}

bool IsExact(const v1::Measurement& measurement) {
  return measurement.interval().low() == measurement.interval().high();
}

// "93.41 [92.90, 93.88]".
std::string ValueText(const std::string& metric, double value, const v1::Measurement* measurement) {
  std::string text = Quantity(metric, value);
  if (measurement == nullptr || IsExact(*measurement)) return text;
  return absl::StrCat(text, " [", Quantity(metric, measurement->interval().low()), ", ",
                      Quantity(metric, measurement->interval().high()), "]");
}

const char* CertaintyText(v1::FrontierMember::Certainty certainty) {
  return certainty == v1::FrontierMember::CERTAIN ? "certain" : "contested";
}

const char* VerdictText(const v1::Verdict& verdict) {
  switch (verdict.state()) {
    case v1::Verdict::TRUSTED:
      return "TRUSTED";
    case v1::Verdict::NOISY:
      return "NOISY";
    case v1::Verdict::REJECTED:
      return "REJECTED";
    default:
      return "UNSPECIFIED";
  }
}

// "r28 d 3-2-4-2-2", from the readable JSON; enough to tell members apart at a glance.
std::string ArchitectureSummary(const v1::Trial& trial) {
  const Json json = Json::parse(trial.architecture_json(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.contains("choices")) return trial.arch_key();
  std::string depths;
  std::string resolution;
  for (const auto& [name, value] : json["choices"].items()) {
    if (name == "r") resolution = absl::StrCat("r", value.dump(), " ");
    if (name[0] == 'd') absl::StrAppend(&depths, depths.empty() ? "d" : "-", value.dump());
  }
  return resolution + depths;
}

double CostOf(const v1::Trial& trial, const std::string& metric) {
  for (const v1::Measurement& measurement : trial.measurements()) {
    if (measurement.metric() == metric) return measurement.value();
  }
  return 0;
}

Json MeasurementJson(const v1::Measurement& measurement) {
  Json json;
  json["value"] = measurement.value();
  json["interval"] = {{"low", measurement.interval().low()},
                      {"high", measurement.interval().high()},
                      {"confidence", measurement.interval().confidence()},
                      {"kind", measurement.interval().kind()}};
  json["samples"] = measurement.sample_count();
  json["verdict"] = VerdictText(measurement.verdict());
  json["reasons"] = std::vector<std::string>(measurement.verdict().reasons().begin(),
                                             measurement.verdict().reasons().end());
  json["fidelity"] = measurement.fidelity();
  const v1::Condition& condition = measurement.condition();
  const std::pair<const char*, const std::string&> conditions[] = {
      {"device", condition.device()},   {"device_class", condition.device_class()},
      {"profile", condition.profile()}, {"dataset", condition.dataset()},
      {"split", condition.split()},     {"recipe", condition.recipe()}};
  for (const auto& [name, value] : conditions) {
    if (!value.empty()) json[name] = value;
  }
  if (measurement.ratio() > 0) {
    json["ratio"] = measurement.ratio();
    json["raw_median_ms"] = measurement.raw_median_ms();
    json["reference_median_ms"] = measurement.reference_median_ms();
    json["baseline_id"] = measurement.baseline_id();
  }
  return json;
}

// "accuracy_top1", or "accuracy_top1@test" for the split that only reports see: a map key that is
// unique among a trial's measurements.
std::string MeasurementName(const v1::Measurement& measurement) {
  const v1::Condition& condition = measurement.condition();
  std::string name = measurement.metric();
  if (condition.split() == "test") absl::StrAppend(&name, "@test");
  if (!condition.device().empty()) absl::StrAppend(&name, "@", condition.device());
  return name;
}

std::string CsvQuote(const std::string& text) {
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

}  // namespace

const v1::Measurement* FindMeasurement(const v1::Trial& trial, const v1::Objective& objective) {
  const v1::Condition& want = objective.condition();
  for (const v1::Measurement& measurement : trial.measurements()) {
    const v1::Condition& have = measurement.condition();
    if (measurement.metric() != objective.metric()) continue;
    if (!want.device().empty() && want.device() != have.device()) continue;
    if (!want.device_class().empty() && want.device_class() != have.device_class()) continue;
    const std::string& split = want.split().empty() ? "validation" : want.split();
    if (!have.split().empty() && have.split() != split) continue;
    return &measurement;
  }
  return nullptr;
}

std::string FrontierTable(const v1::QueryParetoFrontierResponse& frontier) {
  std::vector<std::string> header = {""};
  for (const v1::Objective& objective : frontier.objectives())
    header.push_back(ObjectiveText(objective));
  for (const char* column : {"MACS", "PARAMS", "SUBNET", "TRIAL"}) header.push_back(column);
  TextTable table(std::move(header));
  for (const v1::FrontierMember& member : frontier.members()) {
    std::vector<std::string> row = {absl::StrCat(
        member.knee() ? "*" : "", member.certainty() == v1::FrontierMember::CONTESTED ? "~" : "")};
    for (int i = 0; i < frontier.objectives_size(); ++i) {
      row.push_back(ValueText(frontier.objectives(i).metric(), member.values(i),
                              FindMeasurement(member.trial(), frontier.objectives(i))));
    }
    row.push_back(Quantity("macs", CostOf(member.trial(), "macs")));
    row.push_back(Quantity("params", CostOf(member.trial(), "params")));
    row.push_back(ArchitectureSummary(member.trial()));
    row.push_back(member.trial().name().substr(member.trial().name().rfind('/') + 1));
    table.AddRow(std::move(row));
  }
  return absl::StrCat(table.Render(), frontier.members_size(), " of ", frontier.considered_trials(),
                      " subnets; * knee, ~ contested, [..] 95 % interval\n");
}

std::string FrontierCsv(const v1::QueryParetoFrontierResponse& frontier) {
  std::string csv = "trial";
  for (const v1::Objective& objective : frontier.objectives()) {
    const std::string name = ObjectiveText(objective);
    absl::StrAppend(&csv, ",", name, ",", name, "_low,", name, "_high,", name, "_verdict");
  }
  csv +=
      ",macs,params,model_bytes,peak_activation_bytes,certainty,knee,arch_key,graph_key,artifact_"
      "sha256,architecture\n";
  for (const v1::FrontierMember& member : frontier.members()) {
    const v1::Trial& trial = member.trial();
    csv += trial.name();
    for (int i = 0; i < frontier.objectives_size(); ++i) {
      const v1::Measurement* measurement = FindMeasurement(trial, frontier.objectives(i));
      const double value = member.values(i);
      absl::StrAppendFormat(&csv, ",%.9g,%.9g,%.9g", value,
                            measurement == nullptr ? value : measurement->interval().low(),
                            measurement == nullptr ? value : measurement->interval().high());
      absl::StrAppend(&csv, ",",
                      measurement == nullptr ? "TRUSTED" : VerdictText(measurement->verdict()));
    }
    for (const char* cost : {"macs", "params", "model_bytes", "peak_activation_bytes"}) {
      absl::StrAppendFormat(&csv, ",%.0f", CostOf(trial, cost));
    }
    absl::StrAppend(&csv, ",", CertaintyText(member.certainty()), ",",
                    member.knee() ? "true" : "false", ",", trial.arch_key(), ",", trial.graph_key(),
                    ",", trial.artifact_sha256(), ",", CsvQuote(trial.architecture_json()), "\n");
  }
  return csv;
}

Json FrontierJson(const v1::QueryParetoFrontierResponse& frontier) {
  Json json;
  json["objectives"] = Json::array();
  for (const v1::Objective& objective : frontier.objectives()) {
    json["objectives"].push_back(ObjectiveText(objective));
  }
  json["hypervolume"] = frontier.hypervolume();
  json["considered_trials"] = frontier.considered_trials();
  json["members"] = Json::array();
  for (const v1::FrontierMember& member : frontier.members()) {
    const v1::Trial& trial = member.trial();
    Json item;
    item["trial"] = trial.name();
    item["architecture"] = Json::parse(trial.architecture_json(), nullptr, false);
    for (int i = 0; i < frontier.objectives_size(); ++i) {
      item["values"][ObjectiveText(frontier.objectives(i))] = member.values(i);
    }
    item["certainty"] = CertaintyText(member.certainty());
    item["knee"] = member.knee();
    item["keys"] = {{"arch_key", trial.arch_key()},
                    {"graph_key", trial.graph_key()},
                    {"artifact_sha256", trial.artifact_sha256()}};
    // Measurements come with the highest fidelity first: that one keeps the name.
    for (const v1::Measurement& measurement : trial.measurements()) {
      const std::string name = MeasurementName(measurement);
      if (!item["measurements"].contains(name))
        item["measurements"][name] = MeasurementJson(measurement);
    }
    json["members"].push_back(std::move(item));
  }
  return json;
}

}  // namespace forall
