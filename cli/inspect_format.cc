// SPDX-License-Identifier: Apache-2.0
#include "cli/inspect_format.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "cli/expressions.h"
#include "cli/frontier_format.h"
#include "cli/text_table.h"
#include "cli/wrapped_text.h"
#include "nlohmann/json.hpp"
#include "space/metric_registry.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;
using Pairs = google::protobuf::Map<std::string, std::string>;

constexpr size_t kWidth = 100;
constexpr size_t kIndent = 11;

absl::Time TimeOf(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

// The later lines below the first one's text.
std::string Section(absl::string_view head, absl::string_view text) {
  return WrappedText(absl::StrFormat("%-*s", static_cast<int>(kIndent), head), text, kIndent,
                     kWidth);
}

// A table below its head, set in by two.
std::string Indented(const std::string& table) {
  std::string text;
  for (const absl::string_view line : absl::StrSplit(absl::StripSuffix(table, "\n"), '\n')) {
    absl::StrAppend(&text, "  ", line, "\n");
  }
  return text;
}

std::string Find(const Pairs& pairs, const std::string& name) {
  const auto it = pairs.find(name);
  return it == pairs.end() ? "" : it->second;
}

std::optional<double> FindNumber(const Pairs& pairs, const std::string& name) {
  double value = 0;
  if (!absl::SimpleAtod(Find(pairs, name), &value) || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::string Gigahertz(double khz) { return absl::StrFormat("%.2f GHz", khz / 1e6); }
std::string Gibibytes(double bytes) { return absl::StrFormat("%.1f GiB", bytes / (1 << 30)); }

std::string Clocks(const Pairs& readings) {
  const std::optional<double> now = FindNumber(readings, "frequency_khz");
  const std::optional<double> most = FindNumber(readings, "max_frequency_khz");
  if (now.has_value() && most.has_value()) {
    return absl::StrCat(Gigahertz(*now), " of ", Gigahertz(*most));
  }
  if (now.has_value()) return Gigahertz(*now);
  return most.has_value() ? absl::StrCat("at most ", Gigahertz(*most)) : "";
}

// What has a phrase of its own below, stands with the device, or tells of one latency alone.
bool IsShownElsewhere(absl::string_view name) {
  static constexpr absl::string_view kNames[] = {"cpu_model",
                                                 "architecture",
                                                 "kernel",
                                                 "cores",
                                                 "virtual_machine",
                                                 "emulated",
                                                 "governor",
                                                 "frequency_khz",
                                                 "max_frequency_khz",
                                                 "turbo",
                                                 "temperature_celsius",
                                                 "load_average",
                                                 "memory_bytes",
                                                 "memory_available_bytes",
                                                 "cpu_quota",
                                                 "warnings",
                                                 "latency_profile",
                                                 "sessions",
                                                 "load_judged",
                                                 "load_other_cores",
                                                 "load_steal_share",
                                                 "involuntary_switches",
                                                 "peak_resident_bytes",
                                                 "repeated_sessions"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

std::string ReadingsText(const Pairs& readings) {
  std::vector<std::string> parts;
  if (const auto celsius = FindNumber(readings, "temperature_celsius"); celsius.has_value()) {
    parts.push_back(absl::StrFormat("%.1f °C", *celsius));
  }
  if (std::string clocks = Clocks(readings); !clocks.empty()) parts.push_back(std::move(clocks));
  const std::string governor = Find(readings, "governor");
  if (!governor.empty()) parts.push_back(absl::StrCat("governor ", governor));
  const std::string turbo = Find(readings, "turbo");
  if (!turbo.empty()) parts.push_back(absl::StrCat("turbo ", turbo));
  if (const auto load = FindNumber(readings, "load_average"); load.has_value()) {
    parts.push_back(absl::StrFormat("load %.2f", *load));
  }
  if (const auto cores = FindNumber(readings, "load_other_cores"); cores.has_value()) {
    parts.push_back(absl::StrFormat("others used %.2f cores", *cores));
  }
  if (const auto share = FindNumber(readings, "load_steal_share"); share.value_or(0) > 0) {
    parts.push_back(absl::StrFormat("the host took %.1f %%", 100 * *share));
  }
  const std::optional<double> free = FindNumber(readings, "memory_available_bytes");
  const std::optional<double> memory = FindNumber(readings, "memory_bytes");
  if (free.has_value() && memory.has_value()) {
    parts.push_back(absl::StrCat("memory ", Gibibytes(*free), " free of ", Gibibytes(*memory)));
  }
  if (const auto quota = FindNumber(readings, "cpu_quota"); quota.has_value()) {
    parts.push_back(absl::StrFormat("may use %.2f cores", *quota));
  }
  std::vector<std::pair<std::string, std::string>> others(readings.begin(), readings.end());
  std::sort(others.begin(), others.end());
  for (const auto& [name, value] : others) {
    if (!IsShownElsewhere(name)) parts.push_back(absl::StrCat(name, " ", value));
  }
  return absl::StrJoin(parts, "; ");
}

std::string Head(const v1::Worker& worker, absl::Time now) {
  std::string text =
      Section("worker",
              absl::StrCat(worker.name(), ", ", WorkerStateName(worker.state()), "; seen ",
                           Ago(TimeOf(worker.last_heartbeat_time()), now), ", registered ",
                           Ago(TimeOf(worker.register_time()), now), ", forall ", worker.build(),
                           worker.protocol_version() == 0
                               ? ""
                               : absl::StrCat(", protocol ", worker.protocol_version()))) +
      Section("tasks", absl::StrCat(worker.leased_tasks(), " leased, ", worker.completed_tasks(),
                                    " done, ", worker.failed_tasks(), " failed"));
  if (!worker.reason().empty()) absl::StrAppend(&text, Section("", worker.reason()));
  return text;
}

std::string DeviceText(const v1::Worker& worker) {
  const v1::Device& device = worker.device();
  const Pairs& facts = device.properties();
  std::vector<std::string> parts = {
      absl::StrCat(device.name(), " (", device.device_class(), "): ", device.description())};
  const std::string kernel = Find(facts, "kernel");
  if (!kernel.empty()) parts.push_back(absl::StrCat("kernel ", kernel));
  if (Find(facts, "virtual_machine") == "yes") parts.emplace_back("a virtual machine");
  if (Find(facts, "emulated") == "yes") parts.emplace_back("emulated: no time of any hardware");
  const std::string way = Find(facts, "reached_by");
  if (!way.empty()) parts.push_back(absl::StrCat("reached by ", way));
  parts.push_back(absl::StrCat("fingerprint ", device.fingerprint().substr(0, 12)));
  const v1::RuntimeProfile& profile = worker.profile();
  return Section("device", absl::StrJoin(parts, "; ")) +
         Section("runtime",
                 absl::StrCat(profile.runtime(), " ", profile.runtime_version(), " on ",
                              profile.provider(), ", ", profile.precision(), ", ",
                              profile.threads(), profile.threads() == 1 ? " thread" : " threads",
                              profile.power_mode().empty()
                                  ? ""
                                  : absl::StrCat(", power mode ", profile.power_mode()),
                              "; profile ", profile.hash().substr(0, 12)));
}

// Nothing of workers that do not tell, which are of another version.
std::string MeasuresText(const v1::Worker& worker) {
  const Pairs& facts = worker.device().properties();
  const std::string measures = Find(facts, "measures");
  const std::string why = Find(facts, "cannot_measure_energy");
  const std::string sensors = Find(facts, "energy_sensors");
  if (measures.empty() && why.empty()) return "";
  std::string text = absl::StrCat(kMedianLatency, measures.empty() ? "" : ", ", measures);
  if (!sensors.empty()) absl::StrAppend(&text, "; energy by ", sensors);
  if (!why.empty()) absl::StrAppend(&text, "; no ", kEnergy, ": ", why);
  return Section("measures", text);
}

std::string MachineText(const v1::WorkerInspection& inspection, absl::Time now) {
  const Pairs& facts = inspection.worker().device().properties();
  std::string text;
  if (inspection.readings().empty()) {
    text = Section("now",
                   "no readings since the controller started; a worker sends them while it "
                   "is idle and with every latency");
  } else {
    text = Section("now", absl::StrCat(Ago(TimeOf(inspection.readings_time()), now), ": ",
                                       ReadingsText(inspection.readings())));
  }
  for (const absl::string_view warning :
       absl::StrSplit(Find(inspection.readings(), "warnings"), "; ", absl::SkipEmpty())) {
    absl::StrAppend(&text, Section("warning", warning));
  }
  const std::string denied = Find(facts, "denied_controls");
  if (denied.empty()) return text + Section("denied", "no control");
  absl::string_view head = "denied";
  for (const absl::string_view control : absl::StrSplit(denied, "; ", absl::SkipEmpty())) {
    absl::StrAppend(&text, Section(head, control));
    head = "";
  }
  return text;
}

std::string Drift(double now_ms, double baseline_ms) {
  if (now_ms <= 0 || baseline_ms <= 0) return "-";
  return absl::StrFormat("%+.1f %%", 100 * (now_ms / baseline_ms - 1));
}

std::string Milliseconds(double ms) { return ms > 0 ? absl::StrFormat("%#.4g", ms) : "-"; }

std::string BaselineText(const v1::WorkerInspection& inspection, absl::Time now) {
  if (inspection.baselines().empty()) {
    return Section("baselines", "none: the first latency that is not rejected begins one");
  }
  TextTable table(
      {"BATCH", "REFERENCE MS", "SINCE", "CALIBRATED MS", "DRIFT", "LAST MS", "DRIFT", "WHEN"});
  for (const v1::BaselineInUse& baseline : inspection.baselines()) {
    table.AddRow({baseline.batch() > 0 ? absl::StrCat(baseline.batch()) : "-",
                  Milliseconds(baseline.reference_ms()), Ago(TimeOf(baseline.create_time()), now),
                  Milliseconds(baseline.calibrated_ms()),
                  Drift(baseline.calibrated_ms(), baseline.reference_ms()),
                  Milliseconds(baseline.last_reference_ms()),
                  Drift(baseline.last_reference_ms(), baseline.reference_ms()),
                  baseline.last_reference_ms() > 0 ? Ago(TimeOf(baseline.last_time()), now) : "-"});
  }
  std::string text =
      Section("baselines",
              "what the reference network takes: as a latency is counted, by the worker's own "
              "calibration, and beside its last latency") +
      Indented(table.Render(kWidth - 2));
  const int former = inspection.former_baselines();
  if (former > 0) {
    absl::StrAppend(&text, Section("", absl::StrCat(former, former == 1 ? " more" : " others more",
                                                    " of this device ended when it or its profile "
                                                    "changed")));
  }
  return text;
}

std::string VerdictsText(const v1::WorkerInspection& inspection) {
  int64_t all = 0;
  for (const v1::VerdictCount& verdict : inspection.verdicts()) all += verdict.count();
  if (all == 0) return Section("verdicts", "it has timed nothing yet");
  std::string text =
      Section("verdicts", absl::StrCat("of ", all, all == 1 ? " latency" : " latencies"));
  for (const v1::VerdictCount& verdict : inspection.verdicts()) {
    std::vector<std::string> reasons;
    for (const auto& reason : verdict.reasons()) {
      reasons.push_back(absl::StrCat(reason.reason(), " ", reason.count()));
    }
    const double percent = 100.0 * static_cast<double>(verdict.count()) / static_cast<double>(all);
    absl::StrAppend(&text, Section(absl::StrCat("  ", VerdictText(verdict.state())),
                                   absl::StrFormat("%d (%.1f %%)%s%s", verdict.count(), percent,
                                                   reasons.empty() ? "" : ", for ",
                                                   absl::StrJoin(reasons, ", "))));
  }
  return text;
}

std::string HalfWidth(const v1::Measurement& latency) {
  const double half = std::max(latency.interval().high() - latency.value(),
                               latency.value() - latency.interval().low());
  if (!(latency.value() > 0) || !(half >= 0)) return "-";
  return absl::StrFormat("%.1f %%", 100 * half / latency.value());
}

// "1/trials/7"; what was measured, by its key, where no trial is left to name, and of measurements
// for lookup tables, which never had one.
std::string SubjectText(const v1::Measurement& latency) {
  if (latency.trial().empty()) {
    const bool of_table = absl::StartsWith(latency.subject(), "t1-");
    return absl::StrCat(latency.subject().substr(0, 15), of_table ? "" : " retracted");
  }
  return std::string(absl::StripPrefix(latency.trial(), "searchJobs/"));
}

std::string LatenciesText(const v1::WorkerInspection& inspection, absl::Time now) {
  if (inspection.latencies().empty()) return "";
  TextTable table({"WHEN", "SUBNET", "FOR", "BATCH", "MS", "+-", "VERDICT", "REASONS"});
  for (const v1::Measurement& latency : inspection.latencies()) {
    table.AddRow({Ago(TimeOf(latency.measure_time()), now), Printable(SubjectText(latency)),
                  Printable(latency.fidelity()), absl::StrCat(latency.condition().batch()),
                  Milliseconds(latency.value()), HalfWidth(latency),
                  VerdictText(latency.verdict().state()),
                  Printable(absl::StrJoin(latency.verdict().reasons(), ", "))});
  }
  return Section("latencies", "the last ones, with half the width of their 95 % intervals") +
         Indented(table.Render(kWidth - 2));
}

std::string BesideText(absl::Span<const v1::Measurement> beside, absl::Time now) {
  if (beside.empty()) return "";
  TextTable table({"WHEN", "SUBNET", "FOR", "METRIC", "VALUE", "+-", "VERDICT", "REASONS"});
  for (const v1::Measurement& measurement : beside) {
    v1::Condition condition = measurement.condition();
    // The worker has one device.
    condition.clear_device();
    condition.clear_device_class();
    const bool rejected = measurement.verdict().state() == v1::Verdict::REJECTED;
    table.AddRow({Ago(TimeOf(measurement.measure_time()), now), Printable(SubjectText(measurement)),
                  Printable(measurement.fidelity()), MetricText(measurement.metric(), condition),
                  rejected ? "-" : Quantity(measurement.metric(), measurement.value()),
                  rejected ? "-" : HalfWidth(measurement),
                  VerdictText(measurement.verdict().state()),
                  Printable(absl::StrJoin(measurement.verdict().reasons(), ", "))});
  }
  return Section("beside", "what else was measured of these subnets; values in their usual units") +
         Indented(table.Render(kWidth - 2));
}

Json NumberOrNull(double value) { return value > 0 ? Json(value) : Json(nullptr); }

Json TimeOrNull(bool known, const google::protobuf::Timestamp& time) {
  if (!known) return nullptr;
  return absl::FormatTime(absl::RFC3339_sec, TimeOf(time), absl::UTCTimeZone());
}

Json DriftOrNull(double now_ms, double baseline_ms) {
  return now_ms > 0 && baseline_ms > 0 ? Json(now_ms / baseline_ms - 1) : Json(nullptr);
}

Json PairsJson(const Pairs& pairs) {
  const std::vector<std::pair<std::string, std::string>> sorted = [&] {
    std::vector<std::pair<std::string, std::string>> all(pairs.begin(), pairs.end());
    std::sort(all.begin(), all.end());
    return all;
  }();
  Json json = Json::object();
  for (const auto& [name, value] : sorted) json[name] = value;
  return json;
}

Json WorkerJson(const v1::Worker& worker) {
  const v1::RuntimeProfile& profile = worker.profile();
  return {{"name", worker.name()},
          {"state", WorkerStateName(worker.state())},
          {"reason", worker.reason()},
          {"build", worker.build()},
          {"protocol_version", worker.protocol_version()},
          {"register_time", TimeOrNull(worker.has_register_time(), worker.register_time())},
          {"last_heartbeat_time",
           TimeOrNull(worker.has_last_heartbeat_time(), worker.last_heartbeat_time())},
          {"device",
           {{"name", worker.device().name()},
            {"device_class", worker.device().device_class()},
            {"description", worker.device().description()},
            {"fingerprint", worker.device().fingerprint()},
            {"properties", PairsJson(worker.device().properties())}}},
          {"profile",
           {{"hash", profile.hash()},
            {"runtime", profile.runtime()},
            {"runtime_version", profile.runtime_version()},
            {"provider", profile.provider()},
            {"precision", profile.precision()},
            {"threads", profile.threads()},
            {"power_mode", profile.power_mode()}}}};
}

Json BaselineJson(const v1::BaselineInUse& baseline) {
  return {{"id", baseline.id()},
          {"batch", baseline.batch() > 0 ? Json(baseline.batch()) : Json(nullptr)},
          {"reference_ms", NumberOrNull(baseline.reference_ms())},
          {"create_time", TimeOrNull(baseline.has_create_time(), baseline.create_time())},
          {"calibrated_ms", NumberOrNull(baseline.calibrated_ms())},
          {"calibrated_drift", DriftOrNull(baseline.calibrated_ms(), baseline.reference_ms())},
          {"calibrated_time", TimeOrNull(baseline.calibrated_ms() > 0, baseline.calibrated_time())},
          {"last_reference_ms", NumberOrNull(baseline.last_reference_ms())},
          {"last_drift", DriftOrNull(baseline.last_reference_ms(), baseline.reference_ms())},
          {"last_time", TimeOrNull(baseline.last_reference_ms() > 0, baseline.last_time())}};
}

Json LatencyJson(const v1::Measurement& latency) {
  return {{"trial", latency.trial().empty() ? Json(nullptr) : Json(latency.trial())},
          {"subject", latency.subject()},
          {"fidelity", latency.fidelity()},
          {"batch", latency.condition().batch()},
          {"latency_ms", latency.value()},
          {"interval", {latency.interval().low(), latency.interval().high()}},
          {"ratio", latency.ratio()},
          {"reference_ms", NumberOrNull(latency.reference_median_ms())},
          {"verdict", VerdictText(latency.verdict().state())},
          {"reasons", std::vector<std::string>(latency.verdict().reasons().begin(),
                                               latency.verdict().reasons().end())},
          {"measure_time", TimeOrNull(latency.has_measure_time(), latency.measure_time())}};
}

Json BesideJson(const v1::Measurement& measurement) {
  const double grid = measurement.condition().grid_grams_per_kwh();
  return {{"trial", measurement.trial()},
          {"subject", measurement.subject()},
          {"metric", measurement.metric()},
          {"fidelity", measurement.fidelity()},
          {"batch", measurement.condition().batch()},
          {"grid_grams_per_kwh", NumberOrNull(grid)},
          {"value", measurement.value()},
          {"interval", {measurement.interval().low(), measurement.interval().high()}},
          {"samples", measurement.sample_count()},
          {"verdict", VerdictText(measurement.verdict().state())},
          {"reasons", std::vector<std::string>(measurement.verdict().reasons().begin(),
                                               measurement.verdict().reasons().end())},
          {"measure_time", TimeOrNull(measurement.has_measure_time(), measurement.measure_time())}};
}

}  // namespace

const char* WorkerStateName(v1::Worker::State state) {
  switch (state) {
    case v1::Worker::ACTIVE:
      return "active";
    case v1::Worker::DRAINING:
      return "draining";
    case v1::Worker::DRAINED:
      return "drained";
    case v1::Worker::LOST:
      return "lost";
    case v1::Worker::QUARANTINED:
      return "quarantined";
    default:
      return "unknown";
  }
}

std::string Ago(absl::Time then, absl::Time now) {
  const int64_t seconds = absl::ToInt64Seconds(now - then);
  if (seconds < 1) return "just now";
  if (seconds < 120) return absl::StrCat(seconds, " s ago");
  if (seconds < 120 * 60) return absl::StrCat(seconds / 60, " min ago");
  if (seconds < 48 * 3600) return absl::StrCat(seconds / 3600, " h ago");
  return absl::StrCat(seconds / (24 * 3600), " days ago");
}

std::string WorkersTable(absl::Span<const v1::Worker> workers, absl::Time now, size_t width) {
  TextTable table(
      {"WORKER", "STATE", "DEVICE", "CLASS", "RUNTIME", "LEASED", "DONE", "FAILED", "SEEN"});
  for (const v1::Worker& worker : workers) {
    table.AddRow({worker.name(), WorkerStateName(worker.state()), worker.device().name(),
                  Printable(worker.device().device_class()),
                  Printable(absl::StrCat(worker.profile().runtime(), " ",
                                         worker.profile().runtime_version())),
                  absl::StrCat(worker.leased_tasks()), absl::StrCat(worker.completed_tasks()),
                  absl::StrCat(worker.failed_tasks()),
                  Ago(TimeOf(worker.last_heartbeat_time()), now)});
  }
  return table.Render(width);
}

std::vector<v1::Measurement> MeasuredBeside(const v1::Trial& trial, const std::string& worker) {
  std::vector<v1::Measurement> beside;
  for (const v1::Measurement& measurement : trial.measurements()) {
    const MetricInfo* const metric = FindMetric(measurement.metric());
    if (metric == nullptr || metric->source != MetricSource::kLatency ||
        metric->id == kMedianLatency || measurement.worker() != worker) {
      continue;
    }
    beside.push_back(measurement);
    // Of a number that another job made it is told there.
    if (beside.back().trial().empty()) beside.back().set_trial(trial.name());
  }
  return beside;
}

std::string InspectionText(const v1::WorkerInspection& inspection,
                           absl::Span<const v1::Measurement> beside, absl::Time now) {
  return absl::StrCat(Head(inspection.worker(), now), DeviceText(inspection.worker()),
                      MeasuresText(inspection.worker()), MachineText(inspection, now),
                      BaselineText(inspection, now), VerdictsText(inspection),
                      LatenciesText(inspection, now), BesideText(beside, now));
}

Json InspectionJson(const v1::WorkerInspection& inspection,
                    absl::Span<const v1::Measurement> beside) {
  Json json;
  json["worker"] = WorkerJson(inspection.worker());
  json["readings"] = PairsJson(inspection.readings());
  json["readings_time"] = TimeOrNull(inspection.has_readings_time(), inspection.readings_time());
  json["baselines"] = Json::array();
  for (const v1::BaselineInUse& baseline : inspection.baselines()) {
    json["baselines"].push_back(BaselineJson(baseline));
  }
  json["former_baselines"] = inspection.former_baselines();
  json["verdicts"] = Json::array();
  for (const v1::VerdictCount& verdict : inspection.verdicts()) {
    Json reasons = Json::object();
    for (const auto& reason : verdict.reasons()) reasons[reason.reason()] = reason.count();
    json["verdicts"].push_back({{"verdict", VerdictText(verdict.state())},
                                {"count", verdict.count()},
                                {"reasons", std::move(reasons)}});
  }
  json["latencies"] = Json::array();
  for (const v1::Measurement& latency : inspection.latencies()) {
    json["latencies"].push_back(LatencyJson(latency));
  }
  json["beside"] = Json::array();
  for (const v1::Measurement& measurement : beside) {
    json["beside"].push_back(BesideJson(measurement));
  }
  return json;
}

}  // namespace forall
