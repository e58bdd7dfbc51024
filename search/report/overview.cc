// SPDX-License-Identifier: Apache-2.0
#include "search/report/overview.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "search/report/frontier_table.h"
#include "search/report/html_text.h"

namespace forall {
namespace {

std::string StateText(v1::SearchJob::State state) {
  const std::string name = v1::SearchJob::State_Name(state);
  return name.empty() || state == v1::SearchJob::STATE_UNSPECIFIED ? "in an unknown state"
                                                                   : absl::AsciiStrToLower(name);
}

// "92.61 % top-1 accuracy (validation) and 1.204 ms latency (median) on pi5-lab".
std::string ObjectiveValues(const ReportData& data, const Subnet& subnet) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < data.objectives.size(); ++i) {
    if (!subnet.readings[i].has_value()) continue;
    parts.push_back(absl::StrCat("<b>",
                                 EscapeHtml(ValueWithUnit(data.axes[i], subnet.readings[i]->value)),
                                 "</b> ", EscapeHtml(data.axes[i].label)));
  }
  if (parts.size() < 2) return absl::StrJoin(parts, "");
  const std::string last = parts.back();
  parts.pop_back();
  return absl::StrCat(absl::StrJoin(parts, ", "), " and ", last);
}

std::string Lead(const ReportInput& input, const ReportData& data) {
  const double measured = input.job.measured_trials();
  if (data.members.empty()) {
    const double tried = measured + input.job.infeasible_trials() + input.job.failed_trials();
    if (tried == 0) return "<p class=\"lead\">No subnet was tried to the end.</p>";
    return absl::StrCat(
        "<p class=\"lead\">", FormatCount(tried), tried == 1 ? " subnet was" : " subnets were",
        " tried: ", FormatCount(input.job.infeasible_trials()), " break a constraint, ",
        FormatCount(input.job.failed_trials()), " could not be ", data.known, ", ",
        FormatCount(measured), " keep all constraints. None is on the frontier",
        input.job.has_end_time() ? "" : " yet", ".</p>", ClosestHtml(data));
  }
  std::string html =
      absl::StrCat("<p class=\"lead\">Of ", FormatCount(measured), " ", data.known, " subnets, <b>",
                   data.members.size(), data.members.size() == 1 ? "</b> is" : "</b> are",
                   " on the frontier: among those ", data.known,
                   " as well, none is as good on every objective and better on one.",
                   data.measures() ? "" : " Nothing was measured.");
  if (const Subnet* knee = data.Knee(); knee != nullptr) {
    const std::string link =
        absl::StrCat("<a href=\"#subnet-", knee->number, "\">subnet ", knee->number, "</a>");
    if (data.has_knee) {
      absl::StrAppend(&html, " The knee, ", link);
    } else if (data.members.size() < 3) {
      absl::StrAppend(&html, data.members.size() == 1 ? " It, " : " Two have no knee; ", link);
    } else {
      absl::StrAppend(&html, " The frontier bends outwards, so it has no knee; ", link,
                      ", whose worst objective is best,");
    }
    absl::StrAppend(&html, data.has_knee || data.members.size() == 1 ? ", has " : " has ",
                    ObjectiveValues(data, *knee), ".");
  }
  return absl::StrCat(html, "</p>");
}

std::string Tile(absl::string_view label, absl::string_view value, absl::string_view detail) {
  return absl::StrCat("<div class=\"tile\"><dt>", label, "</dt><dd>", value,
                      detail.empty() ? "" : absl::StrCat("<small>", detail, "</small>"),
                      "</dd></div>");
}

// From the least to the greatest on the frontier.
std::string RangeTile(const ReportData& data, size_t axis) {
  double low = INFINITY;
  double high = -INFINITY;
  for (const Subnet& subnet : data.members) {
    if (!subnet.readings[axis].has_value()) continue;
    low = std::min(low, subnet.readings[axis]->value);
    high = std::max(high, subnet.readings[axis]->value);
  }
  if (low > high) return "";
  const Axis& a = data.axes[axis];
  const std::string range =
      low == high ? ValueText(a, low) : absl::StrCat(ValueText(a, low), "–", ValueText(a, high));
  return Tile(EscapeHtml(LabelWithUnit(a)), EscapeHtml(range), "");
}

std::string DurationText(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  if (seconds < 60) return absl::StrFormat("%.1f s", absl::ToDoubleSeconds(duration));
  if (seconds < 3600) return absl::StrFormat("%d min %02d s", seconds / 60, seconds % 60);
  return absl::StrFormat("%d h %02d min", seconds / 3600, seconds / 60 % 60);
}

std::string Tiles(const ReportInput& input, const ReportData& data) {
  const v1::SearchJob& job = input.job;
  std::string html = "<dl class=\"tiles\">";
  const std::string reused =
      job.reused_trials() > 0 ? absl::StrCat(FormatCount(job.reused_trials()), " reused") : "";
  absl::StrAppend(&html,
                  Tile(data.measures() ? "Measured subnets" : absl::StrCat("Subnets, ", data.known),
                       FormatCount(job.measured_trials()), reused));
  const auto contested = std::count_if(data.members.begin(), data.members.end(),
                                       [](const Subnet& subnet) { return subnet.contested(); });
  absl::StrAppend(&html, Tile("On the frontier", absl::StrCat(data.members.size()),
                              contested > 0 ? absl::StrCat(contested, " contested") : ""));
  for (size_t i = 0; i < data.objectives.size() && i < 3; ++i) {
    absl::StrAppend(&html, RangeTile(data, i));
  }
  if (std::isfinite(input.frontier.hypervolume()) && input.frontier.hypervolume() > 0) {
    absl::StrAppend(&html, Tile("Hypervolume", FormatDecimal(input.frontier.hypervolume(), 4), ""));
  }
  if (job.has_create_time() && job.has_end_time()) {
    const absl::Duration took = FromTimestamp(job.end_time()) - FromTimestamp(job.create_time());
    if (took >= absl::ZeroDuration()) absl::StrAppend(&html, Tile("Took", DurationText(took), ""));
  }
  return absl::StrCat(html, "</dl>");
}

// What a reader must know before believing the rest.
std::string Notice(const v1::SearchJob& job) {
  if (job.state() == v1::SearchJob::SUCCEEDED) return "";
  // A job that failed tells why in words that follow a colon; one that measured nothing has no
  // numbers to speak of.
  std::string text = job.state() == v1::SearchJob::FAILED
                         ? std::string("This job failed")
                         : absl::StrCat("This job is ", StateText(job.state()));
  if (!job.error().empty()) {
    absl::StrAppend(&text, ": ", absl::StripSuffix(job.error(), "."));
  }
  absl::StrAppend(&text, ".");
  if (job.measured_trials() > 0) {
    absl::StrAppend(&text, " The numbers are ",
                    job.has_end_time() ? "those it got to." : "those so far.");
  }
  if (!job.waiting_reason().empty()) absl::StrAppend(&text, " It waits for ", job.waiting_reason());
  return absl::StrCat("<p class=\"notice\">", EscapeHtml(text), "</p>");
}

}  // namespace

std::string ReportTitle(const ReportInput& input) {
  if (!input.job.spec().display_name().empty()) return input.job.spec().display_name();
  return input.job.name().empty() ? "Search report" : input.job.name();
}

std::string OverviewHtml(const ReportInput& input, const ReportData& data) {
  const v1::SearchJob& job = input.job;
  return absl::StrCat("<header><p class=\"kicker\">forall search report</p><h1>",
                      EscapeHtml(ReportTitle(input)), "</h1><p class=\"byline\">",
                      EscapeHtml(job.name()), " · supernet ",
                      EscapeHtml(LastSegment(job.spec().supernet())), " · ", StateText(job.state()),
                      job.has_end_time() ? absl::StrCat(" ", FormatUtc(job.end_time())) : "",
                      "</p>", Notice(job), Lead(input, data), Tiles(input, data), "</header>");
}

}  // namespace forall
