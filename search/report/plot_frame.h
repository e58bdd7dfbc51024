// SPDX-License-Identifier: Apache-2.0
// The frame of a plot: scales with round ticks, grid and axis labels as SVG.
#ifndef FORALL_SEARCH_REPORT_PLOT_FRAME_H_
#define FORALL_SEARCH_REPORT_PLOT_FRAME_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace forall {

// A stretch of numbers with ticks at multiples of 1, 2 or 5 times a power of ten.
class AxisScale {
 public:
  // Spans the finite ones of `values` and some room around them; never below zero when no value is,
  // never above `limit`. A single value, or none, gives a scale too.
  static AxisScale Around(const std::vector<double>& values, double limit);

  double low() const { return low_; }
  double high() const { return high_; }
  std::vector<double> Ticks() const;
  // With as many decimals as the step needs.
  std::string TickText(double tick) const;

 private:
  double low_ = 0;
  double high_ = 1;
  double step_ = 0.2;
};

// Positions in the units of the SVG's viewBox.
struct PlotFrame {
  double width = 960;
  double height = 560;
  double left = 68;
  double right = 22;
  double top = 18;
  double bottom = 58;
  AxisScale x;
  AxisScale y;

  // Moves `left` so far right that the y axis's numbers keep clear of its label.
  void FitLeft();
  double X(double value) const;
  double Y(double value) const;
  double Right() const { return width - right; }
  double Bottom() const { return height - bottom; }
};

// Grid lines, tick labels and axis labels (which are escaped here).
std::string FrameSvg(const PlotFrame& frame, absl::string_view x_label, absl::string_view y_label);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_PLOT_FRAME_H_
