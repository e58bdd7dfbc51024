// SPDX-License-Identifier: Apache-2.0
#include "search/report/preference_section.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "search/pareto/pareto_filter.h"
#include "search/report/html_text.h"
#include "search/report/option_shares.h"
#include "space/metric_registry.h"

namespace forall {
namespace {

// The spaces that come with forall use these letters; others are shown as they are.
std::string GroupTitle(const std::string& letters) {
  const struct {
    const char* letters;
    const char* title;
  } kTitles[] = {
      {"k", "Kernel"}, {"e", "Expansion"}, {"d", "Depth"}, {"w", "Width"}, {"r", "Resolution"}};
  for (const auto& known : kTitles) {
    if (letters == known.letters) return known.title;
  }
  return letters;
}

std::string Percent(double share) { return FormatDecimal(100 * share, 0) + "\xC2\xA0%"; }

// Of so few members a share says little.
constexpr size_t kFew = 4;

std::string Bar(const OptionShare& option) {
  return absl::StrCat(
      "<tr><th scope=\"row\">", EscapeHtml(option.option), "</th><td>",
      "<svg viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
      absl::StrFormat("<rect width=\"%.2f\" height=\"10\"/><path d=\"M%.2f 0V10\"/></svg></td>",
                      100 * option.chosen, 100 * option.uniform),
      "<td class=\"num\"><b>", Percent(option.chosen), "</b></td><td class=\"num\">",
      Percent(option.uniform), "</td></tr>");
}

std::string GroupHtml(const OptionGroup& group) {
  std::string html = absl::StrCat(
      "<div class=\"card prefer\"><table><thead><tr><th colspan=\"2\">",
      EscapeHtml(GroupTitle(group.letters)),
      group.dimensions > 1 ? absl::StrCat("<small>", group.dimensions, " choices</small>") : "",
      "</th><th class=\"num\">frontier</th><th class=\"num\">chance</th></tr></thead><tbody>");
  for (const OptionShare& option : group.options) absl::StrAppend(&html, Bar(option));
  return absl::StrCat(html, "</tbody></table></div>");
}

// The median, or what moves with it.
bool IsLatency(const Axis& axis) {
  const MetricInfo* const info = FindMetric(axis.metric);
  return info != nullptr && info->source == MetricSource::kLatency &&
         (info->unit == "ms" || axis.metric == kThroughput);
}

// The members that no other beats on `target` and on the objectives that are no latency, by their
// place in data.members.
std::vector<size_t> MembersFor(const ReportData& data, size_t target) {
  std::vector<size_t> rows;
  std::vector<double> points;
  int width = 0;
  for (size_t i = 0; i < data.members.size(); ++i) {
    std::vector<double> point;
    bool whole = true;
    for (size_t axis = 0; axis < data.objectives.size(); ++axis) {
      if (axis != target && IsLatency(data.axes[axis])) continue;
      const std::optional<Reading>& reading = data.members[i].readings[axis];
      whole &= reading.has_value();
      const double value = reading.has_value() ? reading->value : 0;
      point.push_back(data.axes[axis].maximize ? -value : value);
    }
    if (!whole) continue;
    width = static_cast<int>(point.size());
    points.insert(points.end(), point.begin(), point.end());
    rows.push_back(i);
  }
  std::vector<size_t> members;
  if (rows.empty()) return members;
  const absl::StatusOr<std::vector<int32_t>> kept =
      ParetoFilter(PointsView{points, width}, Duplicates::kKeepAll);
  if (!kept.ok()) return rows;  // readings are finite
  for (const int32_t row : *kept) members.push_back(rows[row]);
  return members;
}

std::string GroupsHtml(const SearchSpace& space, const ReportData& data,
                       const std::vector<size_t>& members) {
  std::vector<Architecture> architectures;
  for (const size_t i : members) {
    const v1::Architecture& wire = data.members[i].trial->architecture();
    architectures.push_back(
        {wire.search_space(), wire.revision(), {wire.choices().begin(), wire.choices().end()}});
  }
  std::string html;
  for (const OptionGroup& group : OptionShares(space, architectures)) {
    absl::StrAppend(&html, GroupHtml(group));
  }
  if (html.empty()) return "";
  const std::string caution =
      members.size() < kFew
          ? absl::StrCat("<p class=\"note\">",
                         members.size() == 1 ? "One member" : "So few members",
                         " may have an option by chance: read nothing into these shares.</p>")
          : "";
  return absl::StrCat(caution, "<div class=\"prefers\">", html, "</div>");
}

}  // namespace

std::string PreferenceHtml(const ReportInput& input, const ReportData& data) {
  if (data.members.empty()) return "<p class=\"empty\">The frontier is empty.</p>";
  if (input.family == nullptr) {
    return "<p class=\"empty\">Not known without the supernet's search space.</p>";
  }
  const SearchSpace& space = input.family->search_space();
  std::vector<size_t> latencies;
  for (size_t i = 0; i < data.objectives.size(); ++i) {
    if (IsLatency(data.axes[i])) latencies.push_back(i);
  }
  if (latencies.size() < 2) {
    std::vector<size_t> all;
    for (size_t i = 0; i < data.members.size(); ++i) all.push_back(i);
    const std::string html = GroupsHtml(space, data, all);
    return html.empty() ? "<p class=\"empty\">No member is of this search space.</p>" : html;
  }
  std::string html;
  for (const size_t target : latencies) {
    const std::vector<size_t> members = MembersFor(data, target);
    absl::StrAppend(&html, "<h3>", EscapeHtml(data.axes[target].label), " <small>", members.size(),
                    members.size() == 1 ? " member" : " members", "</small></h3>",
                    GroupsHtml(space, data, members));
  }
  return html;
}

}  // namespace forall
