// SPDX-License-Identifier: Apache-2.0
#include "search/report/hypervolume_plot.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "search/pareto/expected_hypervolume.h"
#include "search/report/html_text.h"
#include "search/report/plot_frame.h"

namespace forall {
namespace {

using Step = std::pair<double, double>;

// Only where the value changes, and the last: the line is the same and the page is small.
std::vector<Step> Steps(const ReportInput& input) {
  std::vector<Step> steps;
  Step last = {0, NAN};
  for (const auto& [evaluations, hypervolume] : input.hypervolume_history) {
    if (!std::isfinite(hypervolume)) continue;
    last = {static_cast<double>(evaluations), hypervolume};
    if (steps.empty() || steps.back().second != hypervolume) steps.push_back(last);
  }
  if (!steps.empty() && steps.back().first < last.first) steps.push_back(last);
  return steps;
}

// What random evaluations may expect; the last one may lie beyond what is drawn.
struct Baseline {
  std::vector<HypervolumeBand> bands;
  int64_t trials = 0;
  int orders = 0;
};

// Steps of the mean, and how often it is computed: enough for a smooth line.
constexpr int64_t kMostCounts = 150;
constexpr int kMostOrders = 200;
constexpr int64_t kMostGains = 400'000;
// Beyond two objectives each gain is a hypervolume of its own.
constexpr int64_t kMostSlowGains = 20'000;
constexpr int kMostObjectives = 4;

Baseline MakeBaseline(const ReportInput& input) {
  Baseline baseline;
  std::vector<double> points;
  const size_t width = input.random_points.empty() ? 0 : input.random_points[0].size();
  if (width == 0 || width > kMostObjectives) return baseline;
  for (const std::vector<double>& point : input.random_points) {
    const bool counts =
        point.size() == width &&
        std::all_of(point.begin(), point.end(), [](double v) { return std::isfinite(v); });
    if (counts) points.insert(points.end(), point.begin(), point.end());
  }
  const PointsView view = {points, static_cast<int>(width)};
  const int64_t trials = view.size();
  if (trials == 0) return baseline;
  std::vector<int64_t> counts;
  const int64_t steps = std::min(trials, kMostCounts);
  for (int64_t i = 1; i <= steps; ++i) counts.push_back(i * trials / steps);
  const int64_t affordable = (width > 2 ? kMostSlowGains : kMostGains) / trials;
  const int orders = static_cast<int>(std::clamp<int64_t>(affordable, 10, kMostOrders));
  absl::StatusOr<std::vector<HypervolumeBand>> bands =
      ExpectedHypervolume(view, std::vector<double>(width, 1.0), counts, orders, /*seed=*/1);
  if (!bands.ok()) return baseline;  // the points are finite
  return {*std::move(bands), trials, orders};
}

// Those that are drawn beside a search of so many evaluations.
std::vector<HypervolumeBand> Drawn(const Baseline& baseline, double evaluations) {
  std::vector<HypervolumeBand> drawn;
  for (const HypervolumeBand& band : baseline.bands) {
    if (static_cast<double>(band.evaluations) <= evaluations) drawn.push_back(band);
  }
  return drawn;
}

PlotFrame MakeFrame(const std::vector<Step>& steps, const std::vector<HypervolumeBand>& random) {
  PlotFrame frame;
  frame.height = 290;
  // Room for whole numbers between the ticks.
  std::vector<double> xs = {0, 5};
  std::vector<double> ys;
  for (const auto& [evaluations, hypervolume] : steps) {
    xs.push_back(evaluations);
    ys.push_back(hypervolume);
  }
  for (const HypervolumeBand& band : random) ys.insert(ys.end(), {band.low, band.high});
  frame.x = AxisScale::Around(xs, std::max(5.0, steps.back().first));
  frame.y = AxisScale::Around(ys, 1);
  frame.FitLeft();
  return frame;
}

std::string RandomSvg(const PlotFrame& frame, const std::vector<HypervolumeBand>& random) {
  if (random.empty()) return "";
  std::string mean;
  std::string outline;
  for (const HypervolumeBand& band : random) {
    const double x = frame.X(static_cast<double>(band.evaluations));
    absl::StrAppendFormat(&mean, "%c%.1f %.1f", mean.empty() ? 'M' : 'L', x, frame.Y(band.mean));
    absl::StrAppendFormat(&outline, "%c%.1f %.1f", outline.empty() ? 'M' : 'L', x,
                          frame.Y(band.high));
  }
  for (auto band = random.rbegin(); band != random.rend(); ++band) {
    absl::StrAppendFormat(&outline, "L%.1f %.1f", frame.X(static_cast<double>(band->evaluations)),
                          frame.Y(band->low));
  }
  return absl::StrCat("<path class=\"random-band\" d=\"", outline,
                      "z\"/><path class=\"random-mean\" d=\"", mean, "\"/>");
}

std::string LineSvg(const PlotFrame& frame, const std::vector<Step>& steps) {
  std::string path =
      absl::StrFormat("M%.1f %.1f", frame.X(steps[0].first), frame.Y(steps[0].second));
  for (size_t i = 1; i < steps.size(); ++i) {
    absl::StrAppendFormat(&path, "H%.1fV%.1f", frame.X(steps[i].first), frame.Y(steps[i].second));
  }
  const double end_x = frame.X(steps.back().first);
  const double end_y = frame.Y(steps.back().second);
  // The last value, below its line's end when there is no room above it.
  const double text_y = end_y - frame.top < 20 ? end_y + 20 : end_y - 9;
  return absl::StrCat("<path class=\"area\" d=\"", path,
                      absl::StrFormat("V%.1fH%.1fz", frame.Bottom(), frame.X(steps[0].first)),
                      "\"/><path class=\"steps\" d=\"", path, "\"/>",
                      absl::StrFormat("<circle class=\"last\" cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\"/>"
                                      "<text class=\"value end\" x=\"%.1f\" y=\"%.1f\">%.4f</text>",
                                      end_x, end_y, end_x - 4, text_y, steps.back().second));
}

std::string Legend(bool random) {
  if (!random) return "";
  return "<div class=\"plot-head\"><ul class=\"legend\">"
         "<li><svg viewBox=\"0 0 22 14\" aria-hidden=\"true\"><path class=\"steps\" d=\"M1 7H21\"/>"
         "</svg>this search</li>"
         "<li><svg viewBox=\"0 0 22 14\" aria-hidden=\"true\"><path class=\"random-band\" "
         "d=\"M1 1H21V13H1z\"/><path class=\"random-mean\" d=\"M1 7H21\"/></svg>random subnets: "
         "mean and middle 80 %</li></ul></div>";
}

// The nearest count that was computed at or before `evaluations`; nullptr before the first.
const HypervolumeBand* At(const Baseline& baseline, double evaluations) {
  const HypervolumeBand* found = nullptr;
  for (const HypervolumeBand& band : baseline.bands) {
    if (static_cast<double>(band.evaluations) <= evaluations) found = &band;
  }
  return found;
}

// How far random evaluations get, in words; a hint where nobody has made any.
std::string RandomText(const ReportInput& input, const std::vector<Step>& steps,
                       const Baseline& baseline) {
  const bool random_itself = input.job.spec().sampler().algorithm() == "random";
  const HypervolumeBand* band = At(baseline, steps.back().first);
  if (band == nullptr) {
    return random_itself
               ? ""
               : " To see what random subnets would have reached, measure some under the same "
                 "objectives, constraints and fidelity, with <code>forall submit … --sampler "
                 "random</code>, and write the report again.";
  }
  // What the search itself had by then, which is its end unless fewer random ones were measured.
  double had = steps.front().second;
  for (const auto& [evaluations, hypervolume] : steps) {
    if (evaluations <= static_cast<double>(band->evaluations)) had = hypervolume;
  }
  std::string text = absl::StrCat(
      " After ", FormatCount(static_cast<double>(band->evaluations)),
      band->evaluations == 1 ? " subnet" : " subnets", " random ones have ",
      FormatDecimal(band->mean, 4), " on average (middle 80 %: ", FormatDecimal(band->low, 4), "–",
      FormatDecimal(band->high, 4), "), this search had ", FormatDecimal(had, 4), ".");
  const auto reached =
      std::find_if(baseline.bands.begin(), baseline.bands.end(),
                   [&](const HypervolumeBand& b) { return b.mean >= steps.back().second; });
  if (reached == baseline.bands.end()) {
    absl::StrAppend(&text, " All ", FormatCount(static_cast<double>(baseline.trials)),
                    " random ones together do not reach what it ended with.");
  } else {
    absl::StrAppend(&text, " Random ones reach what it ended with after about ",
                    FormatCount(static_cast<double>(reached->evaluations)), ".");
  }
  return absl::StrCat(text, " They are those of ",
                      EscapeHtml(absl::StrJoin(input.random_jobs, ", ")), ", in ", baseline.orders,
                      " random orders; the band narrows towards the last of them, where all orders "
                      "have seen the same.");
}

}  // namespace

std::string HypervolumePlotHtml(const ReportInput& input) {
  const std::vector<Step> steps = Steps(input);
  if (steps.empty()) {
    return "<p class=\"empty\">No hypervolume yet: it begins with the first measured subnet.</p>";
  }
  const Baseline baseline = MakeBaseline(input);
  const std::vector<HypervolumeBand> random = Drawn(baseline, steps.back().first);
  const PlotFrame frame = MakeFrame(steps, random);
  return absl::StrCat(
      "<figure class=\"card plot\">", Legend(!random.empty()),
      absl::StrFormat("<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"Hypervolume over "
                      "evaluations\">",
                      frame.width, frame.height),
      FrameSvg(frame, "evaluated subnets", "hypervolume"), RandomSvg(frame, random),
      LineSvg(frame, steps),
      "</svg><figcaption>The share of the space between the worst and the best imaginable values "
      "that the frontier dominates. It grows when a subnet is found that no earlier one beats; "
      "final measurements may correct it in either direction.",
      RandomText(input, steps, baseline), "</figcaption></figure>");
}

}  // namespace forall
