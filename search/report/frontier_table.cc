// SPDX-License-Identifier: Apache-2.0
#include "search/report/frontier_table.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "search/report/html_text.h"
#include "space/metric_registry.h"

namespace forall {
namespace {

struct Column {
  int axis = -1;
  std::string head;
  std::string unit;
};

// Short enough for a column; where and on what it was measured in a second line.
Column MakeColumn(const ReportData& data, int index) {
  const Axis& axis = data.axes[index];
  Column column{index, axis.label, axis.unit};
  const struct {
    const char* metric;
    const char* head;
  } kHeads[] = {{"accuracy_top1", "Top-1"},
                {"accuracy_top5", "Top-5"},
                {"latency_ms", "Latency"},
                {"latency_p90_ms", "Latency p90"},
                {"latency_p95_ms", "Latency p95"},
                {"latency_p99_ms", "Latency p99"},
                {kThroughput, "Throughput"},
                {kPeakMemory, "Peak resident"},
                {kEnergy, "Energy"},
                {kCarbon, "Carbon"},
                {"predicted_accuracy_top1", "Predicted top-1"},
                {"predicted_latency_ms", "Predicted latency"},
                {"macs", "MACs"},
                {"params", "Params"},
                {"model_bytes", "Size"},
                {"peak_activation_bytes", "Peak activations"}};
  for (const auto& known : kHeads) {
    if (axis.metric == known.metric) column.head = known.head;
  }
  if (!axis.split.empty()) {
    column.unit = absl::StrCat(axis.split, ", ", axis.unit);
  } else if (!axis.device.empty()) {
    column.unit = absl::StrCat(absl::StripPrefix(axis.device, "devices/"), ", ", axis.unit);
  }
  if (axis.batch > 1) absl::StrAppend(&column.unit, ", batch ", axis.batch);
  if (axis.grid_grams_per_kwh > 0) {
    absl::StrAppendFormat(&column.unit, ", %.9g g/kWh", axis.grid_grams_per_kwh);
  }
  return column;
}

bool AnyReading(const ReportData& data, int axis) {
  return std::any_of(data.members.begin(), data.members.end(),
                     [&](const Subnet& subnet) { return subnet.readings[axis].has_value(); });
}

// The objectives, then accuracies and latencies beside them, then costs. Top-5 only when asked for.
std::vector<Column> Columns(const ReportData& data) {
  std::vector<Column> columns;
  for (int i = 0; i < static_cast<int>(data.axes.size()); ++i) {
    const Axis& axis = data.axes[i];
    if (axis.objective < 0 && (axis.metric == "accuracy_top5" || !AnyReading(data, i))) continue;
    columns.push_back(MakeColumn(data, i));
  }
  return columns;
}

std::string ReadingCell(const Axis& axis, const std::optional<Reading>& reading) {
  if (!reading.has_value()) return "<td class=\"num none\">–</td>";
  std::string html =
      absl::StrCat("<td class=\"num\"><b>", EscapeHtml(ValueText(axis, reading->value)), "</b>");
  if (reading->high > reading->low) {
    absl::StrAppend(&html, "<small>", ValueText(axis, reading->low), " – ",
                    ValueText(axis, reading->high), "</small>");
  }
  return absl::StrCat(html, "</td>");
}

std::string Badge(absl::string_view kind, absl::string_view text) {
  return absl::StrCat("<span class=\"badge ", kind, "\">", text, "</span>");
}

std::string VerdictHtml(const Subnet& subnet) {
  // Of a form, as the plot's marks.
  const char* const word = VerdictWord(subnet.verdict);
  std::string html = *word == '\0' ? "–" : Badge(word, word);
  for (const std::string& reason : subnet.reasons) {
    absl::StrAppend(&html, "<small>", EscapeHtml(reason), "</small>");
  }
  return html;
}

// Whether the rival is as good as the member in every objective, and better in one, with its own
// numbers at the better ends of their intervals and the member's at the worse ends.
bool CouldBeat(const ReportData& data, const Subnet& rival, const Subnet& member) {
  bool better = false;
  for (size_t i = 0; i < data.objectives.size(); ++i) {
    if (!rival.readings[i].has_value() || !member.readings[i].has_value()) return false;
    const Reading& theirs = *rival.readings[i];
    const Reading& ours = *member.readings[i];
    const double gain = data.axes[i].maximize ? theirs.high - ours.low : ours.high - theirs.low;
    if (gain < 0) return false;
    better |= gain > 0;
  }
  return better;
}

// Of what a member's place is in doubt: what its numbers are, then who could take it.
std::string WhyContested(const ReportData& data, const Subnet& subnet) {
  std::vector<std::string> reasons;
  for (size_t i = 0; i < data.objectives.size(); ++i) {
    const Axis& axis = data.axes[i];
    const MetricInfo* const metric = FindMetric(axis.metric);
    const v1::Measurement* const measurement =
        subnet.readings[i].has_value() ? subnet.readings[i]->measurement : nullptr;
    if (measurement == nullptr || metric == nullptr) continue;
    if (IsPredicted(*metric)) {
      reasons.push_back(absl::StrCat(axis.label, " is not measured"));
    } else if (measurement->fidelity() == "screening") {
      reasons.push_back(absl::StrCat(axis.label, " only screened"));
    } else if (measurement->verdict().state() == v1::Verdict::NOISY) {
      reasons.push_back(absl::StrCat(axis.label, " noisy"));
    }
  }
  const Subnet* rival = nullptr;
  for (const auto* subnets : {&data.members, &data.others}) {
    for (const Subnet& other : *subnets) {
      if (rival != nullptr || &other == &subnet || other.infeasible()) continue;
      if (CouldBeat(data, other, subnet)) rival = &other;
    }
  }
  if (rival != nullptr && rival->member != nullptr) {
    reasons.push_back(absl::StrCat("within intervals, subnet ", rival->number, " could beat it"));
  } else if (rival != nullptr) {
    reasons.push_back(absl::StrCat("within intervals, trial ", LastSegment(rival->trial->name()),
                                   " could beat it"));
  } else if (reasons.empty()) {
    reasons.emplace_back("another could beat it on other images");
  }
  return EscapeHtml(absl::StrJoin(reasons, "; "));
}

// Whether its place is certain, and what the numbers behind it are worth.
std::string TrustCells(const ReportData& data, const Subnet& subnet) {
  const std::string images =
      subnet.trial->accuracy_images() > 0
          ? absl::StrCat(", ", FormatCount(static_cast<double>(subnet.trial->accuracy_images())),
                         " images")
          : "";
  const char* const fidelity = !data.measures()            ? data.known
                               : subnet.trial->finalized() ? "final"
                                                           : "screening";
  return absl::StrCat("<td class=\"place\">",
                      subnet.contested() ? Badge("doubt", "contested") : Badge("good", "certain"),
                      "<small>", fidelity, images, "</small>",
                      subnet.contested() ? absl::StrCat("<small class=\"why\">",
                                                        WhyContested(data, subnet), "</small>")
                                         : "",
                      "</td><td>", VerdictHtml(subnet), "</td>");
}

std::string KeysCell(const v1::Trial& trial) {
  const auto key = [](absl::string_view name, absl::string_view value) {
    return absl::StrCat("<span><i>", name, "</i>", KeyHtml(value), "</span>");
  };
  return absl::StrCat("<td class=\"keys\">", key("arch", trial.arch_key()),
                      key("graph", trial.graph_key()), key("onnx", trial.artifact_sha256()),
                      "</td>");
}

std::string Row(const ReportData& data, const std::vector<Column>& columns, const Subnet& subnet) {
  std::string html = absl::StrCat("<tr id=\"subnet-", subnet.number, "\"",
                                  subnet.knee() ? " class=\"knee\"" : "", ">");
  absl::StrAppend(&html, "<th scope=\"row\" class=\"num\">", subnet.number,
                  "</th><td class=\"net\"><b>", EscapeHtml(subnet.architecture),
                  "</b><small>trial ", EscapeHtml(LastSegment(subnet.trial->name())),
                  subnet.knee() ? absl::StrCat(" · <em>", data.knee_word(), "</em>") : "",
                  "</small></td>");
  // What the objectives' values are worth stands beside them, before what may need scrolling to.
  for (size_t i = 0; i < columns.size(); ++i) {
    if (i == data.objectives.size()) absl::StrAppend(&html, TrustCells(data, subnet));
    const int axis = columns[i].axis;
    absl::StrAppend(&html, ReadingCell(data.axes[axis], subnet.readings[axis]));
  }
  if (columns.size() == data.objectives.size()) absl::StrAppend(&html, TrustCells(data, subnet));
  absl::StrAppend(&html, KeysCell(*subnet.trial), "</tr>\n");
  return html;
}

}  // namespace

std::string ClosestHtml(const ReportData& data) {
  if (data.closest.empty()) return "";
  std::string html = absl::StrCat("<p>No ", data.known,
                                  " subnet meets the constraints. The closest:</p>"
                                  "<ol class=\"closest\">");
  for (const ReportData::Closest& closest : data.closest) {
    absl::StrAppend(&html, "<li><b>", EscapeHtml(closest.architecture), "</b> <small>trial ",
                    EscapeHtml(LastSegment(closest.trial->name())),
                    "</small>: ", EscapeHtml(absl::StrJoin(closest.misses, "; ")), "</li>");
  }
  return absl::StrCat(html, "</ol>");
}

std::string FrontierTableHtml(const ReportData& data) {
  if (data.members.empty()) {
    return absl::StrCat("<p class=\"empty\">The frontier is empty: no ", data.known,
                        " subnet had every objective's value and met every constraint.",
                        data.closest.empty() ? "" : " What comes closest is at the top.", "</p>");
  }
  const std::vector<Column> columns = Columns(data);
  std::string html =
      "<div class=\"card scroll\"><table class=\"frontier\"><thead><tr><th class=\"num\">#</th>"
      "<th>Subnet</th>";
  constexpr char kTrustHeads[] = "<th>Place</th><th>Verdict</th>";
  for (size_t i = 0; i < columns.size(); ++i) {
    const Column& column = columns[i];
    if (i == data.objectives.size()) absl::StrAppend(&html, kTrustHeads);
    const bool objective = data.axes[column.axis].objective >= 0;
    absl::StrAppend(&html, "<th class=\"num", objective ? " objective" : "", "\" title=\"",
                    EscapeHtml(LabelWithUnit(data.axes[column.axis])), "\">",
                    EscapeHtml(column.head), "<small>", EscapeHtml(column.unit), "</small></th>");
  }
  if (columns.size() == data.objectives.size()) absl::StrAppend(&html, kTrustHeads);
  absl::StrAppend(&html, "<th>Keys</th></tr></thead><tbody>\n");
  for (const Subnet& subnet : data.members) absl::StrAppend(&html, Row(data, columns, subnet));
  return absl::StrCat(
      html, "</tbody></table></div>",
      "<p class=\"note\">Small figures are 95 % intervals; costs are counted and "
      "have none. A place is certain or contested, as the plot's marks are full or "
      "hollow; a verdict's form is that of its mark. Hover over a key for all of it.</p>");
}

}  // namespace forall
