// SPDX-License-Identifier: Apache-2.0
#include "search/report/plot_frame.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "search/report/html_text.h"

namespace forall {
namespace {

constexpr double kRoom = 0.05;  // of the span, on either side
constexpr double kWantedTicks = 6;

double RoundStep(double span) {
  const double raw = span / kWantedTicks;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double mantissa = raw / power;
  if (mantissa < 1.5) return power;
  if (mantissa < 3.5) return 2 * power;
  if (mantissa < 7.5) return 5 * power;
  return 10 * power;
}

}  // namespace

AxisScale AxisScale::Around(const std::vector<double>& values, double limit) {
  double low = INFINITY;
  double high = -INFINITY;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  AxisScale scale;
  if (low > high) return scale;
  double room = (high - low) * kRoom;
  // Also when the values differ only in the last bits, where ticks would have no room to differ.
  const double least = std::max(std::fabs(high), std::fabs(low)) * 1e-6;
  if (high - low <= least) room = high == 0 ? 1 : std::fabs(high) * kRoom;
  scale.low_ = low >= 0 ? std::max(0.0, low - room) : low - room;
  scale.high_ = high <= limit ? std::min(limit, high + room) : high + room;
  // Whatever the input's magnitude, the span can be divided by.
  if (!std::isfinite(scale.high_ - scale.low_) || scale.high_ <= scale.low_) return AxisScale();
  scale.step_ = RoundStep(scale.high_ - scale.low_);
  return scale;
}

std::vector<double> AxisScale::Ticks() const {
  std::vector<double> ticks;
  const double first = std::ceil(low_ / step_ - 1e-9);
  for (double i = first; i * step_ <= high_ + step_ * 1e-9 && ticks.size() < 32; ++i) {
    ticks.push_back(i == 0 ? 0 : i * step_);
  }
  return ticks;
}

std::string AxisScale::TickText(double tick) const {
  const double exponent = -std::floor(std::log10(step_) + 1e-9);
  if (exponent > 9) return absl::StrFormat("%.3g", tick);
  return FormatDecimal(tick, std::max(0, static_cast<int>(exponent)));
}

void PlotFrame::FitLeft() {
  size_t longest = 0;
  for (const double tick : y.Ticks()) longest = std::max(longest, y.TickText(tick).size());
  // Half of the rotated label, a gap, digits of the tick's font size, and their gap to the axis.
  constexpr double kLabel = 28;
  constexpr double kDigit = 7.6;
  constexpr double kGap = 9;
  left = std::max(left, kLabel + kDigit * static_cast<double>(longest) + kGap);
}

double PlotFrame::X(double value) const {
  return left + (value - x.low()) / (x.high() - x.low()) * (width - left - right);
}

double PlotFrame::Y(double value) const {
  return Bottom() - (value - y.low()) / (y.high() - y.low()) * (height - top - bottom);
}

std::string FrameSvg(const PlotFrame& frame, absl::string_view x_label, absl::string_view y_label) {
  std::string svg = "<g class=\"frame\">";
  for (const double tick : frame.x.Ticks()) {
    const double x = frame.X(tick);
    absl::StrAppendFormat(&svg,
                          "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                          "<text x=\"%.1f\" y=\"%.1f\" class=\"tick mid\">%s</text>",
                          x, x, frame.top, frame.Bottom(), x, frame.Bottom() + 19,
                          frame.x.TickText(tick));
  }
  for (const double tick : frame.y.Ticks()) {
    const double y = frame.Y(tick);
    absl::StrAppendFormat(&svg,
                          "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                          "<text x=\"%.1f\" y=\"%.1f\" class=\"tick end\">%s</text>",
                          frame.left, frame.Right(), y, y, frame.left - 9, y + 4,
                          frame.y.TickText(tick));
  }
  absl::StrAppendFormat(&svg, "<path class=\"base\" d=\"M%.1f %.1fV%.1fH%.1f\"/>", frame.left,
                        frame.top, frame.Bottom(), frame.Right());
  absl::StrAppendFormat(&svg, "<text class=\"label end\" x=\"%.1f\" y=\"%.1f\">%s</text>",
                        frame.Right(), frame.height - 10, EscapeHtml(x_label));
  const double middle = (frame.top + frame.Bottom()) / 2;
  absl::StrAppendFormat(&svg,
                        "<text class=\"label mid\" x=\"16\" y=\"%.1f\" transform=\"rotate(-90 16 "
                        "%.1f)\">%s</text></g>",
                        middle, middle, EscapeHtml(y_label));
  return svg;
}

}  // namespace forall
