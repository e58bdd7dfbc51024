// SPDX-License-Identifier: Apache-2.0
#include "search/report/hypervolume_plot.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
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

PlotFrame MakeFrame(const std::vector<Step>& steps) {
  PlotFrame frame;
  frame.height = 290;
  // Room for whole numbers between the ticks.
  std::vector<double> xs = {0, 5};
  std::vector<double> ys;
  for (const auto& [evaluations, hypervolume] : steps) {
    xs.push_back(evaluations);
    ys.push_back(hypervolume);
  }
  frame.x = AxisScale::Around(xs, std::max(5.0, steps.back().first));
  frame.y = AxisScale::Around(ys, 1);
  frame.FitLeft();
  return frame;
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

}  // namespace

std::string HypervolumePlotHtml(const ReportInput& input) {
  const std::vector<Step> steps = Steps(input);
  if (steps.empty()) {
    return "<p class=\"empty\">No hypervolume yet: it begins with the first measured subnet.</p>";
  }
  const PlotFrame frame = MakeFrame(steps);
  return absl::StrCat(
      "<figure class=\"card plot\">",
      absl::StrFormat("<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"Hypervolume over "
                      "evaluations\">",
                      frame.width, frame.height),
      FrameSvg(frame, "evaluated subnets", "hypervolume"), LineSvg(frame, steps),
      "</svg><figcaption>The share of the space between the worst and the best imaginable values "
      "that the frontier dominates. It grows when a subnet is found that no earlier one beats; "
      "final "
      "measurements may correct it in either direction.</figcaption></figure>");
}

}  // namespace forall
