// SPDX-License-Identifier: Apache-2.0
#include "search/report/ledger_section.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/binomial.h"
#include "search/report/html_text.h"
#include "search/report/plot_frame.h"
#include "search/report/report_data.h"

namespace forall {
namespace {

using Entry = v1::PredictionLedger::Entry;

// More dots than this cannot be told apart in a small plot.
constexpr size_t kMostDots = 1500;

// In the units people read.
struct Dot {
  std::string trial;
  double measured = 0;
  double expected = 0;
  double low = 0;
  double high = 0;
};

std::vector<Dot> Dots(const Axis& axis, const Entry& entry) {
  std::vector<Dot> all;
  for (const v1::PredictionLedger::Forecast& forecast : entry.forecasts()) {
    const double half = 1.96 * forecast.deviation() * axis.factor;
    const double expected = forecast.expected() * axis.factor;
    const Dot dot = {std::string(LastSegment(forecast.trial())), forecast.measured() * axis.factor,
                     expected, expected - half, expected + half};
    if (std::isfinite(dot.measured) && std::isfinite(dot.low) && std::isfinite(dot.high)) {
      all.push_back(dot);
    }
  }
  const size_t count = std::min(all.size(), kMostDots);
  std::vector<Dot> kept;
  for (size_t i = 0; i < count; ++i) kept.push_back(all[i * all.size() / count]);
  return kept;
}

PlotFrame MakeFrame(const Axis& axis, const std::vector<Dot>& dots) {
  PlotFrame frame;
  frame.width = 560;
  frame.height = 430;
  // The same stretch on both axes, so that the diagonal is where both agree.
  std::vector<double> values;
  for (const Dot& dot : dots) values.insert(values.end(), {dot.measured, dot.expected});
  frame.x = frame.y = AxisScale::Around(values, axis.unit == "%" ? 100 : INFINITY);
  frame.FitLeft();
  return frame;
}

std::string Plot(const Axis& axis, const Entry& entry) {
  const std::vector<Dot> dots = Dots(axis, entry);
  if (dots.empty()) return "";
  const PlotFrame frame = MakeFrame(axis, dots);
  std::string bars;
  std::string circles;
  for (const Dot& dot : dots) {
    const double high = std::min(dot.high, frame.y.high());
    const double low = std::max(dot.low, frame.y.low());
    absl::StrAppendFormat(&bars, "M%.1f %.1fV%.1f", frame.X(dot.measured), frame.Y(low),
                          frame.Y(high));
    absl::StrAppendFormat(&circles, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.4\"><title>",
                          frame.X(dot.measured), frame.Y(dot.expected));
    absl::StrAppend(&circles, "trial ", EscapeHtml(dot.trial), "\npredicted ",
                    EscapeHtml(ValueWithUnit(axis, dot.expected)), " ± ",
                    ValueText(axis, dot.high - dot.expected), "\nmeasured ",
                    EscapeHtml(ValueWithUnit(axis, dot.measured)), "</title></circle>");
  }
  const std::string label = LabelWithUnit(axis);
  return absl::StrCat("<figure class=\"card plot\">",
                      absl::StrFormat("<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"",
                                      frame.width, frame.height),
                      EscapeHtml(absl::StrCat(label, ", predicted over measured")), "\">",
                      FrameSvg(frame, absl::StrCat("measured ", label), "predicted"),
                      absl::StrFormat("<path class=\"agree\" d=\"M%.1f %.1fL%.1f %.1f\"/>",
                                      frame.left, frame.Bottom(), frame.Right(), frame.top),
                      "<g class=\"forecasts\"><path d=\"", bars, "\"/>", circles,
                      "</g></svg></figure>");
}

bool IsOverconfident(const Entry& entry) {
  const int64_t trials = entry.forecasts_size();
  const double share = entry.within_interval();
  return share >= 0 && share <= 1 &&
         CoverageIsFarBelow95(std::llround(share * static_cast<double>(trials)), trials);
}

std::string Percent(double share) { return FormatDecimal(100 * share, 0) + "\xC2\xA0%"; }

std::string Row(const Axis& axis, const Entry& entry) {
  const auto cell = [](absl::string_view text) {
    return absl::StrCat("<td class=\"num\">", text, "</td>");
  };
  const auto correlation = [](bool known, double value) {
    return known ? FormatDecimal(value, 2) : std::string("–");
  };
  std::string html = absl::StrCat("<tr><th scope=\"row\">", EscapeHtml(axis.label), "</th>",
                                  cell(FormatCount(entry.forecasts_size())));
  if (entry.forecasts().empty()) {
    for (int i = 0; i < 8; ++i) absl::StrAppend(&html, cell("–"));
    return absl::StrCat(html, "</tr>");
  }
  const double bias = entry.mean_signed_error() * axis.factor;
  // A difference of shares is in points, as `forall ledger` has it.
  const std::string bias_text =
      axis.unit == "%" ? ValueText(axis, bias) + "\xC2\xA0points" : ValueWithUnit(axis, bias);
  absl::StrAppend(&html,
                  cell(entry.has_mean_relative_error()
                           ? FormatDecimal(100 * entry.mean_relative_error(), 2) + "\xC2\xA0%"
                           : "–"),
                  cell(Percent(entry.within_5_percent())), cell(Percent(entry.within_10_percent())),
                  cell(Percent(entry.within_15_percent())),
                  cell(EscapeHtml(absl::StrCat(bias > 0 ? "+" : "", bias_text))),
                  cell(correlation(entry.has_kendall_tau(), entry.kendall_tau())),
                  cell(correlation(entry.has_spearman_rho(), entry.spearman_rho())),
                  cell(absl::StrCat(Percent(entry.within_interval()),
                                    IsOverconfident(entry) ? "<small>too few</small>" : "")));
  return absl::StrCat(html, "</tr>");
}

}  // namespace

std::string LedgerHtml(const ReportInput& input) {
  const auto& entries = input.ledger.entries();
  if (std::all_of(entries.begin(), entries.end(),
                  [](const Entry& entry) { return entry.forecasts().empty(); })) {
    return absl::StrCat("<p class=\"empty\">Nothing to compare: ",
                        input.job.spec().sampler().algorithm() == "guided"
                            ? "no trial that was predicted has been measured."
                            : "this job's sampler predicts nothing; guided does.",
                        "</p>");
  }
  std::string rows;
  std::string plots;
  for (const Entry& entry : entries) {
    const Axis axis = ObjectiveAxis(entry.objective(), 0);
    absl::StrAppend(&rows, Row(axis, entry));
    absl::StrAppend(&plots, Plot(axis, entry));
  }
  const bool overconfident = std::any_of(entries.begin(), entries.end(), IsOverconfident);
  return absl::StrCat(
      overconfident
          ? "<p class=\"notice\">Fewer measurements than 95 % fall into the predicted "
            "intervals (so few come about by chance less than once in a thousand times): "
            "the search was surer of itself than it should have been. Measured values and "
            "the frontier do not rest on predictions.</p>"
          : "",
      "<div class=\"card scroll\"><table><thead><tr><th>Objective</th><th class=\"num\">Trials</th>"
      "<th class=\"num\">Mean error</th><th class=\"num\">within 5 %</th>"
      "<th class=\"num\">10 %</th><th class=\"num\">15 %</th><th class=\"num\">Bias</th>"
      "<th class=\"num\">Kendall τ-b</th><th class=\"num\">Spearman ρ</th>"
      "<th class=\"num\">in 95 % interval</th></tr></thead><tbody>",
      rows, "</tbody></table></div><div class=\"charts\">", plots,
      "</div><p class=\"note\">Errors are relative to what was measured; bias is predicted minus "
      "measured. The dashed line is where both agree, a bar the 95 % interval that was claimed: of "
      "the metric itself, so where measurements scatter fewer than 95 % fall into it. Subnets are "
      "measured because "
      "much is expected of them, so expectations are rosier than they would be of any subnet.</p>");
}

}  // namespace forall
