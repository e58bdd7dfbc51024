// SPDX-License-Identifier: Apache-2.0
#include "cli/frontier_format.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "cli/expressions.h"
#include "cli/text_table.h"
#include "cli/wrapped_text.h"
#include "nlohmann/json.hpp"
#include "space/metric_registry.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

// What the value was shifted by to be compared with final ones; 0 when it is what was measured.
double ShiftOf(const v1::FrontierMember& member, int objective) {
  const double measured = member.measurements(objective).value();
  const double value = member.values(objective);
  return value == measured ? 0 : value - measured;
}

// "93.41 [92.90, 93.88]", an estimate with "est." before it.
std::string ValueText(const std::string& metric, const v1::FrontierMember& member, int objective) {
  const v1::Interval& interval = member.measurements(objective).interval();
  const double shift = ShiftOf(member, objective);
  std::string text =
      absl::StrCat(shift == 0 ? "" : "est. ", Quantity(metric, member.values(objective)));
  if (interval.low() == interval.high()) return text;
  return absl::StrCat(text, " [", Quantity(metric, interval.low() + shift), ", ",
                      Quantity(metric, interval.high() + shift), "]");
}

// Responses come from a controller of another version, or from nobody's friend: a member that lacks
// a value or its measurement is not shown.
bool IsWhole(const v1::QueryParetoFrontierResponse& frontier, const v1::FrontierMember& member) {
  return member.values_size() == frontier.objectives_size() &&
         member.measurements_size() == frontier.objectives_size();
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
  json["verdict"] = VerdictText(measurement.verdict().state());
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
  if (condition.batch() > 1) json["batch"] = condition.batch();
  if (condition.grid_grams_per_kwh() > 0) {
    json["grid_grams_per_kwh"] = condition.grid_grams_per_kwh();
  }
  if (measurement.has_samples_dropped_time()) {
    json["samples_dropped"] = absl::FormatTime(
        absl::RFC3339_sec, absl::FromUnixSeconds(measurement.samples_dropped_time().seconds()),
        absl::UTCTimeZone());
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
  if (condition.batch() > 1) absl::StrAppend(&name, ":batch=", condition.batch());
  if (condition.grid_grams_per_kwh() > 0) {
    absl::StrAppendFormat(&name, ":grid=%.9g", condition.grid_grams_per_kwh());
  }
  return name;
}

// Those whose name is not there yet.
void AddMeasurements(const google::protobuf::RepeatedPtrField<v1::Measurement>& measurements,
                     Json* json) {
  for (const v1::Measurement& measurement : measurements) {
    const std::string name = MeasurementName(measurement);
    if (!json->contains(name)) (*json)[name] = MeasurementJson(measurement);
  }
}

std::string CsvQuote(const std::string& text) {
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

bool IsObjective(const v1::QueryParetoFrontierResponse& frontier, absl::string_view metric) {
  return std::any_of(
      frontier.objectives().begin(), frontier.objectives().end(),
      [&](const v1::Objective& objective) { return ObjectiveText(objective) == metric; });
}

// "latency_ms 8.300 is 3.8 % above 8.000", "accuracy_top1 90.10 is 1.9 % below 92.00".
std::string MissText(const v1::ClosestTrial::Miss& miss) {
  const v1::Constraint& constraint = miss.constraint();
  const bool above = constraint.has_at_most() && miss.value() > constraint.at_most();
  const double bound = above ? constraint.at_most() : constraint.at_least();
  // Of nothing there is no share.
  const double percent = 100 * miss.relative_excess();
  std::string excess;
  if (bound != 0) {
    excess =
        percent < 10 ? absl::StrFormat("%.2g %% ", percent) : absl::StrFormat("%.0f %% ", percent);
  }
  return absl::StrCat(MetricText(constraint.metric(), constraint.condition()), " ",
                      Quantity(constraint.metric(), miss.value()), " is ", excess,
                      above ? "above " : "below ", Quantity(constraint.metric(), bound));
}

// Whether some member lies on the better side of the line through the frontier's ends, each
// objective scaled to the frontier's range; otherwise the marked member is the one whose worst
// objective is best, as the controller chooses (docs/architecture.md, Words).
bool HasKnee(const v1::QueryParetoFrontierResponse& frontier) {
  constexpr double kTolerance = 1e-12;  // of rounding
  std::vector<double> sums;
  for (int i = 0; i < frontier.objectives_size(); ++i) {
    std::vector<double> values;
    for (const v1::FrontierMember& member : frontier.members()) {
      if (IsWhole(frontier, member)) values.push_back(member.values(i));
    }
    if (values.size() < 3) return false;
    const v1::Objective& objective = frontier.objectives(i);
    const MetricInfo* const metric = FindMetric(objective.metric());
    if (objective.goal() == v1::Objective::GOAL_UNSPECIFIED
            ? metric != nullptr && metric->higher_is_better
            : objective.goal() == v1::Objective::MAXIMIZE) {
      for (double& value : values) value = -value;
    }
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    const double least = *low;
    const double range = *high - least;
    sums.resize(values.size());
    for (size_t m = 0; m < values.size() && range > 0; ++m) sums[m] += (values[m] - least) / range;
  }
  return std::any_of(sums.begin(), sums.end(), [](double sum) { return sum < 1 - kTolerance; });
}

// Images behind the members' accuracies; 0 of those that have none.
std::set<int64_t> AccuracyImages(const v1::QueryParetoFrontierResponse& frontier) {
  std::set<int64_t> images;
  for (const v1::FrontierMember& member : frontier.members()) {
    images.insert(member.trial().accuracy_images());
  }
  return images;
}

}  // namespace

std::string Quantity(const std::string& metric, double value) {
  if (metric == "macs" || metric == "params") return absl::StrFormat("%.2f M", value / 1e6);
  if (metric == "model_bytes" || metric == "peak_activation_bytes") {
    return absl::StrFormat("%.0f KiB", value / 1024);
  }
  const MetricInfo* const info = FindMetric(metric);
  const std::string unit = info == nullptr ? "" : info->unit;
  if (metric == kThroughput) return absl::StrFormat("%.1f", value);
  // Fractions of a milligram, of any size.
  if (metric == kCarbon) return absl::StrFormat("%.3g", value);
  if (metric != "predicted_latency_ms" && (unit == "ms" || unit == "mJ")) {
    return value < 0.1 ? absl::StrFormat("%.4f", value) : absl::StrFormat("%.3f", value);
  }
  return absl::StrFormat("%.2f", value);
}

std::string VerdictText(v1::Verdict::State state) {
  // A controller of a newer build may know more of them.
  if (!v1::Verdict::State_IsValid(state)) return "UNSPECIFIED";
  return std::string(absl::StripPrefix(v1::Verdict::State_Name(state), "STATE_"));
}

const char* CertaintyName(const v1::FrontierMember& member) {
  return member.certainty() == v1::FrontierMember::CERTAIN ? "certain" : "contested";
}

Json MeasuredJson(const v1::Trial& trial) {
  Json json = Json::object();
  AddMeasurements(trial.measurements(), &json);
  return json;
}

std::string ClosestText(const v1::QueryParetoFrontierResponse& frontier, size_t width) {
  if (frontier.closest().empty()) return "";
  std::string text = "No measured subnet meets the constraints. The closest:\n";
  for (const v1::ClosestTrial& closest : frontier.closest()) {
    absl::StrAppend(&text, "  ", absl::StripPrefix(closest.trial().name(), "searchJobs/"), "  ",
                    ArchitectureSummary(closest.trial()), "\n");
    for (const v1::ClosestTrial::Miss& miss : closest.misses()) {
      absl::StrAppend(&text, WrappedText("    ", MissText(miss), 6, LineWidth(width)));
    }
  }
  return text;
}

std::string FrontierTable(const v1::QueryParetoFrontierResponse& frontier, size_t width) {
  if (!frontier.closest().empty()) return ClosestText(frontier, width);
  std::vector<std::string> header = {""};
  for (const v1::Objective& objective : frontier.objectives())
    header.push_back(ObjectiveText(objective));
  const bool show_macs = !IsObjective(frontier, "macs");
  const bool show_params = !IsObjective(frontier, "params");
  if (show_macs) header.emplace_back("MACS");
  if (show_params) header.emplace_back("PARAMS");
  // While a search goes on its members stand at different tiers.
  const std::set<int64_t> images = AccuracyImages(frontier);
  if (images.size() > 1) header.emplace_back("IMAGES");
  for (const char* column : {"SUBNET", "TRIAL"}) header.emplace_back(column);
  TextTable table(std::move(header));
  for (const v1::FrontierMember& member : frontier.members()) {
    if (!IsWhole(frontier, member)) continue;
    std::vector<std::string> row = {absl::StrCat(
        member.knee() ? "*" : "", member.certainty() == v1::FrontierMember::CONTESTED ? "~" : "")};
    for (int i = 0; i < frontier.objectives_size(); ++i) {
      row.push_back(ValueText(frontier.objectives(i).metric(), member, i));
    }
    if (show_macs) row.push_back(Quantity("macs", CostOf(member.trial(), "macs")));
    if (show_params) row.push_back(Quantity("params", CostOf(member.trial(), "params")));
    if (images.size() > 1) row.push_back(absl::StrCat(member.trial().accuracy_images()));
    row.push_back(ArchitectureSummary(member.trial()));
    // As `forall export` takes it.
    row.emplace_back(absl::StripPrefix(member.trial().name(), "searchJobs/"));
    table.AddRow(std::move(row));
  }
  const std::string summary = absl::StrCat(
      frontier.members_size(), " of ", frontier.considered_trials(),
      frontier.considered_trials() == 1 ? " subnet" : " subnets",
      images.size() == 1 && *images.begin() > 0
          ? absl::StrCat(", accuracies on ", *images.begin(), " images")
          : "",
      frontier.members().empty()
          ? ""
          : absl::StrCat("; * ", HasKnee(frontier) ? "knee" : "suggested (no knee)",
                         ", ~ contested, est. estimated from screening, [..] 95 % interval"));
  return absl::StrCat(table.Render(width), WrappedText("", summary, 0, LineWidth(width)));
}

std::string FrontierCsv(const v1::QueryParetoFrontierResponse& frontier) {
  std::string csv = "trial";
  for (const v1::Objective& objective : frontier.objectives()) {
    const std::string name = ObjectiveText(objective);
    absl::StrAppend(&csv, ",", name, ",", name, "_low,", name, "_high,", name, "_verdict,", name,
                    "_fidelity");
  }
  std::vector<const char*> costs;
  for (const char* cost : {"macs", "params", "model_bytes", "peak_activation_bytes"}) {
    if (IsObjective(frontier, cost)) continue;  // It is a column already.
    costs.push_back(cost);
    absl::StrAppend(&csv, ",", cost);
  }
  csv += ",accuracy_images,certainty,knee,arch_key,graph_key,artifact_sha256,architecture\n";
  for (const v1::FrontierMember& member : frontier.members()) {
    if (!IsWhole(frontier, member)) continue;
    const v1::Trial& trial = member.trial();
    csv += trial.name();
    for (int i = 0; i < frontier.objectives_size(); ++i) {
      const v1::Measurement& measurement = member.measurements(i);
      const double shift = ShiftOf(member, i);
      absl::StrAppendFormat(&csv, ",%.9g,%.9g,%.9g", member.values(i),
                            measurement.interval().low() + shift,
                            measurement.interval().high() + shift);
      absl::StrAppend(&csv, ",", VerdictText(measurement.verdict().state()), ",",
                      shift == 0 ? measurement.fidelity() : "estimated");
    }
    for (const char* cost : costs) {
      absl::StrAppendFormat(&csv, ",%.0f", CostOf(trial, cost));
    }
    absl::StrAppend(&csv, ",", trial.accuracy_images(), ",", CertaintyName(member), ",",
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
  json["hypervolume"] = frontier.has_hypervolume() ? Json(frontier.hypervolume()) : Json(nullptr);
  json["considered_trials"] = frontier.considered_trials();
  json["members"] = Json::array();
  for (const v1::FrontierMember& member : frontier.members()) {
    if (!IsWhole(frontier, member)) continue;
    const v1::Trial& trial = member.trial();
    Json item;
    item["trial"] = trial.name();
    item["architecture"] = Json::parse(trial.architecture_json(), nullptr, false);
    for (int i = 0; i < frontier.objectives_size(); ++i) {
      item["values"][ObjectiveText(frontier.objectives(i))] = member.values(i);
    }
    item["estimated"] = Json::array();
    for (int i = 0; i < frontier.objectives_size(); ++i) {
      if (ShiftOf(member, i) != 0)
        item["estimated"].push_back(ObjectiveText(frontier.objectives(i)));
    }
    item["certainty"] = CertaintyName(member);
    item["knee"] = member.knee();
    item["accuracy_images"] = trial.accuracy_images();
    item["keys"] = {{"arch_key", trial.arch_key()},
                    {"graph_key", trial.graph_key()},
                    {"artifact_sha256", trial.artifact_sha256()}};
    // What the values rest on first, then the trial's others, of which the highest fidelity comes
    // first: the first of a name keeps it.
    AddMeasurements(member.measurements(), &item["measurements"]);
    AddMeasurements(trial.measurements(), &item["measurements"]);
    json["members"].push_back(std::move(item));
  }
  for (const v1::ClosestTrial& closest : frontier.closest()) {
    Json item;
    item["trial"] = closest.trial().name();
    for (int i = 0; i < std::min(closest.values_size(), frontier.objectives_size()); ++i) {
      Json& value = item["values"][ObjectiveText(frontier.objectives(i))];
      if (std::isfinite(closest.values(i))) value = closest.values(i);
    }
    item["misses"] = Json::array();
    for (const v1::ClosestTrial::Miss& miss : closest.misses()) {
      item["misses"].push_back({{"constraint", ConstraintText(miss.constraint())},
                                {"value", miss.value()},
                                {"relative_excess", miss.relative_excess()}});
    }
    json["closest"].push_back(std::move(item));
  }
  return json;
}

}  // namespace forall
