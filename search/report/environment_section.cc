// SPDX-License-Identifier: Apache-2.0
#include "search/report/environment_section.h"

#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "search/report/html_text.h"

namespace forall {
namespace {

template <typename Visit>
void ForEachMeasurement(const ReportInput& input, Visit visit) {
  std::set<std::string> members;
  for (const v1::FrontierMember& member : input.frontier.members()) {
    members.insert(member.trial().name());
    for (const v1::Measurement& measurement : member.trial().measurements()) visit(measurement);
  }
  for (const v1::Trial& trial : input.trials) {
    if (members.count(trial.name()) > 0) continue;
    for (const v1::Measurement& measurement : trial.measurements()) visit(measurement);
  }
}

std::string DeviceHtml(const v1::Device& device) {
  std::string html =
      absl::StrCat("<article class=\"card device\"><h3>", EscapeHtml(LastSegment(device.name())),
                   "</h3><p>", EscapeHtml(device.description()), "</p><dl>");
  const auto row = [&](absl::string_view name, const std::string& value) {
    absl::StrAppend(&html, "<div><dt>", EscapeHtml(name), "</dt><dd>", value, "</dd></div>");
  };
  if (!device.device_class().empty()) row("class", EscapeHtml(device.device_class()));
  // A protobuf map has no order of its own.
  const std::map<std::string, std::string> properties(device.properties().begin(),
                                                      device.properties().end());
  for (const auto& [name, value] : properties) row(name, EscapeHtml(value));
  row("fingerprint", KeyHtml(device.fingerprint()));
  return absl::StrCat(html, "</dl></article>");
}

std::string RuntimeText(const v1::RuntimeProfile& profile) {
  std::vector<std::string> parts;
  parts.push_back(absl::StrCat(profile.runtime(), " ", profile.runtime_version()));
  for (const std::string& part : {profile.provider(), profile.precision(), profile.power_mode()}) {
    if (!part.empty()) parts.push_back(part);
  }
  if (profile.threads() > 0) {
    parts.push_back(
        absl::StrCat(profile.threads(), profile.threads() == 1 ? " thread" : " threads"));
  }
  if (profile.batch() > 0) parts.push_back(absl::StrCat("batch ", profile.batch()));
  const std::map<std::string, std::string> settings(profile.settings().begin(),
                                                    profile.settings().end());
  for (const auto& [name, value] : settings) parts.push_back(absl::StrCat(name, " = ", value));
  return absl::StrJoin(parts, ", ");
}

std::string WorkersHtml(const ReportInput& input) {
  if (input.workers.empty()) return "";
  std::string html =
      "<div class=\"card scroll\"><table><thead><tr><th>Worker</th><th>Device</th><th>Runtime</th>"
      "<th>Profile</th><th>Build</th><th>State</th><th class=\"num\">Tasks done</th>"
      "<th class=\"num\">Failed</th></tr></thead><tbody>\n";
  for (const v1::Worker& worker : input.workers) {
    absl::StrAppend(
        &html, "<tr><td><b>", EscapeHtml(LastSegment(worker.name())), "</b></td><td>",
        EscapeHtml(LastSegment(worker.device().name())), "</td><td>",
        EscapeHtml(RuntimeText(worker.profile())), "</td><td>", KeyHtml(worker.profile().hash()),
        "</td><td>", EscapeHtml(worker.build()), "</td><td>",
        absl::AsciiStrToLower(v1::Worker::State_Name(worker.state())),
        worker.reason().empty() ? ""
                                : absl::StrCat("<small>", EscapeHtml(worker.reason()), "</small>"),
        "</td><td class=\"num\">", FormatCount(static_cast<double>(worker.completed_tasks())),
        "</td><td class=\"num\">", FormatCount(static_cast<double>(worker.failed_tasks())),
        "</td></tr>\n");
  }
  return absl::StrCat(html, "</tbody></table></div>");
}

// Who made the numbers of this report: workers come and go, measurements name theirs.
std::string MeasuredByHtml(const ReportInput& input) {
  std::map<std::pair<std::string, std::string>, int> counts;
  ForEachMeasurement(input, [&](const v1::Measurement& measurement) {
    if (!measurement.worker().empty()) {
      ++counts[{measurement.worker(), measurement.worker_build()}];
    }
  });
  if (counts.empty()) return "";
  std::vector<std::string> parts;
  for (const auto& [by, count] : counts) {
    parts.push_back(absl::StrCat("<b>", EscapeHtml(LastSegment(by.first)), "</b> (build ",
                                 by.second.empty() ? "–" : EscapeHtml(by.second), ") ",
                                 FormatCount(count)));
  }
  return absl::StrCat("<p>Measurements in this report, by worker: ", absl::StrJoin(parts, "; "),
                      ".</p>");
}

// "validation, screening: 2,500 images", from what was really used.
std::string DataHtml(const ReportInput& input) {
  std::map<std::tuple<std::string, std::string, std::string>, std::set<int64_t>> used;
  ForEachMeasurement(input, [&](const v1::Measurement& measurement) {
    const v1::Condition& condition = measurement.condition();
    if (condition.split().empty() || measurement.sample_count() <= 0) return;
    used[{condition.dataset(), condition.split(), measurement.fidelity()}].insert(
        measurement.sample_count());
  });
  if (used.empty()) return "";
  std::string html =
      "<div class=\"card scroll\"><table><thead><tr><th>Dataset</th><th>Split</th><th>Fidelity</th>"
      "<th class=\"num\">Images per accuracy</th></tr></thead><tbody>\n";
  for (const auto& [key, counts] : used) {
    const auto& [dataset, split, fidelity] = key;
    const std::string range =
        counts.size() == 1 ? FormatCount(static_cast<double>(*counts.begin()))
                           : absl::StrCat(FormatCount(static_cast<double>(*counts.begin())), " – ",
                                          FormatCount(static_cast<double>(*counts.rbegin())));
    absl::StrAppend(&html, "<tr><td>", EscapeHtml(dataset), "</td><td>", EscapeHtml(split),
                    "</td><td>", EscapeHtml(fidelity), "</td><td class=\"num\">", range,
                    "</td></tr>\n");
  }
  return absl::StrCat(html, "</tbody></table></div>");
}

std::string BaselinesHtml(const ReportInput& input) {
  std::map<std::pair<std::string, std::string>, double> baselines;
  ForEachMeasurement(input, [&](const v1::Measurement& measurement) {
    if (measurement.baseline_id().empty() || !std::isfinite(measurement.baseline_reference_ms()))
      return;
    baselines[{measurement.condition().device(), measurement.baseline_id()}] =
        measurement.baseline_reference_ms();
  });
  if (baselines.empty()) return "";
  std::string html =
      "<div class=\"card scroll\"><table><thead><tr><th>Device</th><th>Latency baseline</th>"
      "<th class=\"num\">Reference network, ms</th></tr></thead><tbody>\n";
  for (const auto& [key, reference_ms] : baselines) {
    absl::StrAppend(&html, "<tr><td>", EscapeHtml(LastSegment(key.first)), "</td><td>",
                    KeyHtml(key.second), "</td><td class=\"num\">", FormatDecimal(reference_ms, 4),
                    "</td></tr>\n");
  }
  return absl::StrCat(html, "</tbody></table></div>");
}

}  // namespace

std::string EnvironmentHtml(const ReportInput& input) {
  std::string html = "<div class=\"devices\">";
  for (const v1::Device& device : input.devices) absl::StrAppend(&html, DeviceHtml(device));
  absl::StrAppend(&html, "</div>");
  if (input.devices.empty()) html = "<p class=\"empty\">No device has measured for this job.</p>";
  return absl::StrCat(html, WorkersHtml(input), MeasuredByHtml(input), "<div class=\"pair\">",
                      DataHtml(input), BaselinesHtml(input), "</div>");
}

}  // namespace forall
