// SPDX-License-Identifier: Apache-2.0
#include "search/report/scatter_plot.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "search/report/html_text.h"
#include "search/report/plot_frame.h"

namespace forall {
namespace {

// From so many dots on they are drawn smaller and fainter; the script has the same number.
constexpr size_t kCrowd = 1000;
constexpr double kMemberRadius = 5;
constexpr double kOtherRadius = 3.2;
constexpr double kRingRadius = 12;
constexpr double kCap = 3;  // of an interval's ends, to either side

double Limit(const Axis& axis) { return axis.unit == "%" ? 100 : INFINITY; }

std::string AxisLabel(const Axis& axis, bool vertical) {
  const char* better = vertical ? (axis.maximize ? "  ↑ better" : "  ↓ better")
                                : (axis.maximize ? "  → better" : "  ← better");
  return absl::StrCat(LabelWithUnit(axis), better);
}

// A verdict's form, about as large whatever it is; `attributes` end with a blank or are empty. No
// end tag.
std::string Mark(v1::Verdict::State verdict, double x, double y, double radius,
                 absl::string_view attributes = "") {
  switch (verdict) {
    case v1::Verdict::NOISY:
      return absl::StrFormat("<path %sd=\"M%.1f %.1fh%.1fv%.1fh-%.1fz\"", attributes,
                             x - 0.9 * radius, y - 0.9 * radius, 1.8 * radius, 1.8 * radius,
                             1.8 * radius);
    case v1::Verdict::REJECTED:
      return absl::StrFormat("<path %sd=\"M%.1f %.1fl%.1f %.1fh-%.1fz\"", attributes, x,
                             y - 1.2 * radius, 1.15 * radius, 2 * radius, 2.3 * radius);
    default:
      return absl::StrFormat("<circle %scx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"", attributes, x, y,
                             radius);
  }
}

// What marks the knee: a diamond around its mark.
std::string KneeRing(double x, double y, double radius) {
  return absl::StrFormat(
      "<path class=\"ring\" d=\"M%.1f %.1fl%.1f %.1fl-%.1f %.1fl-%.1f -%.1fz\"/>", x, y - radius,
      radius, radius, radius, radius, radius, radius);
}

// Draws one pair of axes; `frame_` spans all subnets that have both.
class Drawing {
 public:
  Drawing(const ReportData& data, int x, int y) : data_(data), x_(x), y_(y) {
    std::vector<double> xs;
    std::vector<double> ys;
    for (const auto* subnets : {&data.others, &data.members}) {
      for (const Subnet& subnet : *subnets) {
        if (!Has(subnet)) continue;
        const Reading& rx = *subnet.readings[x_];
        const Reading& ry = *subnet.readings[y_];
        xs.push_back(rx.value);
        ys.push_back(ry.value);
        if (subnet.member == nullptr) continue;
        xs.insert(xs.end(), {rx.low, rx.high});
        ys.insert(ys.end(), {ry.low, ry.high});
      }
    }
    frame_.x = AxisScale::Around(xs, Limit(data.axes[x_]));
    frame_.y = AxisScale::Around(ys, Limit(data.axes[y_]));
  }

  const PlotFrame& frame() const { return frame_; }
  bool Has(const Subnet& subnet) const {
    return subnet.readings[x_].has_value() && subnet.readings[y_].has_value();
  }

  std::string Svg() const {
    std::string svg =
        FrameSvg(frame_, AxisLabel(data_.axes[x_], false), AxisLabel(data_.axes[y_], true));
    absl::StrAppendFormat(
        &svg,
        "<clipPath id=\"plot-area\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>"
        "</clipPath>",
        frame_.left, frame_.top, frame_.Right() - frame_.left, frame_.Bottom() - frame_.top);
    constexpr char kClipped[] = "<g clip-path=\"url(#plot-area)\">";
    absl::StrAppend(&svg, kClipped, Bounds(), StepLine(), OtherBars(), "</g>", Others(), kClipped,
                    MemberBars(), "</g>", Members());
    return svg;
  }

 private:
  double Px(const Subnet& subnet) const { return frame_.X(subnet.readings[x_]->value); }
  double Py(const Subnet& subnet) const { return frame_.Y(subnet.readings[y_]->value); }

  // Predictions have a verdict too, but it tells none from another.
  v1::Verdict::State Form(const Subnet& subnet) const {
    return data_.measures() ? subnet.verdict : v1::Verdict::STATE_UNSPECIFIED;
  }

  // Read aloud, and shown by browsers when hovering.
  std::string Title(const Subnet& subnet) const {
    std::string text = subnet.member == nullptr ? "" : absl::StrCat("Subnet ", subnet.number, ", ");
    absl::StrAppend(&text, "trial ", LastSegment(subnet.trial->name()), ": ", subnet.architecture);
    for (const int axis : {y_, x_}) {
      const Reading& reading = *subnet.readings[axis];
      absl::StrAppend(&text, "\n", data_.axes[axis].label, " ",
                      ValueWithUnit(data_.axes[axis], reading.value));
      if (reading.high > reading.low) {
        absl::StrAppend(&text, " [", ValueText(data_.axes[axis], reading.low), ", ",
                        ValueText(data_.axes[axis], reading.high), "]");
      }
    }
    if (data_.measures() && subnet.verdict != v1::Verdict::STATE_UNSPECIFIED) {
      absl::StrAppend(&text, "\n", VerdictWord(subnet.verdict), subnet.reasons.empty() ? "" : ": ",
                      absl::StrJoin(subnet.reasons, ", "));
    }
    if (subnet.contested()) absl::StrAppend(&text, "\ncontested");
    return absl::StrCat("<title>", EscapeHtml(text), "</title>");
  }

  // A line over each interval, with strokes of `cap` to both sides at its ends.
  std::string Bars(const Subnet& subnet, double cap) const {
    const Reading& rx = *subnet.readings[x_];
    const Reading& ry = *subnet.readings[y_];
    std::string path;
    if (rx.high > rx.low) {
      const double low = frame_.X(rx.low);
      const double high = frame_.X(rx.high);
      absl::StrAppendFormat(&path, "M%.1f %.1fH%.1f", low, Py(subnet), high);
      for (const double end : {low, high}) {
        if (cap > 0)
          absl::StrAppendFormat(&path, "M%.1f %.1fv%.1f", end, Py(subnet) - cap, 2 * cap);
      }
    }
    if (ry.high > ry.low) {
      const double low = frame_.Y(ry.low);
      const double high = frame_.Y(ry.high);
      absl::StrAppendFormat(&path, "M%.1f %.1fV%.1f", Px(subnet), low, high);
      for (const double end : {low, high}) {
        if (cap > 0)
          absl::StrAppendFormat(&path, "M%.1f %.1fh%.1f", Px(subnet) - cap, end, 2 * cap);
      }
    }
    return path;
  }

  std::string OtherBars() const {
    std::string path;
    for (const Subnet& subnet : data_.others) {
      if (Has(subnet)) absl::StrAppend(&path, Bars(subnet, 0));
    }
    return absl::StrCat("<path class=\"bars other-bars\" d=\"", path, "\"/>");
  }

  std::string MemberBars() const {
    std::string path;
    for (const Subnet& subnet : data_.members) {
      if (Has(subnet)) absl::StrAppend(&path, Bars(subnet, kCap));
    }
    return absl::StrCat("<path class=\"bars member-bars\" d=\"", path, "\"/>");
  }

  std::string Others() const {
    std::string svg =
        absl::StrCat("<g class=\"others", data_.others.size() > kCrowd ? " crowd" : "", "\">");
    for (size_t i = 0; i < data_.others.size(); ++i) {
      const Subnet& subnet = data_.others[i];
      if (!Has(subnet)) continue;
      // Points follow the members in the script's list.
      const size_t index = data_.members.size() + i;
      if (subnet.infeasible()) {
        absl::StrAppendFormat(&svg,
                              "<path data-i=\"%d\" class=\"cross\" d=\"M%.1f %.1fl6 6m0 -6l-6 6\">",
                              index, Px(subnet) - 3, Py(subnet) - 3);
        absl::StrAppend(&svg, Title(subnet), "</path>");
      } else {
        const std::string mark = Mark(Form(subnet), Px(subnet), Py(subnet), kOtherRadius,
                                      absl::StrFormat("data-i=\"%d\" ", index));
        absl::StrAppend(&svg, mark, ">", Title(subnet),
                        absl::StartsWith(mark, "<circle") ? "</circle>" : "</path>");
      }
    }
    return absl::StrCat(svg, "</g>");
  }

  std::string Members() const {
    std::string svg = "<g class=\"members\">";
    // The knee last, so that nothing covers it.
    for (const bool knee : {false, true}) {
      for (const Subnet& subnet : data_.members) {
        if (!Has(subnet) || subnet.knee() != knee) continue;
        absl::StrAppend(&svg, Marker(subnet));
      }
    }
    absl::StrAppend(&svg, "</g>", Numbers());
    return svg;
  }

  std::string Marker(const Subnet& subnet) const {
    std::string svg = absl::StrFormat(
        "<a href=\"#subnet-%d\" data-i=\"%d\" class=\"member%s%s\">", subnet.number,
        subnet.number - 1, subnet.contested() ? " contested" : "", subnet.knee() ? " knee" : "");
    if (subnet.knee()) absl::StrAppend(&svg, KneeRing(Px(subnet), Py(subnet), kRingRadius));
    absl::StrAppend(&svg, Mark(Form(subnet), Px(subnet), Py(subnet), kMemberRadius), "/>");
    return absl::StrCat(svg, Title(subnet), "</a>");
  }

  // Numbers as in the table, on the better side, where they cover no other subnet; one that would
  // lie on another is left out.
  std::string Numbers() const {
    std::string svg = "<g class=\"numbers\">";
    std::vector<PlotPoint> placed;
    const double dx = data_.axes[x_].maximize ? 11 : -11;
    const double dy = data_.axes[y_].maximize ? -8 : 15;
    for (const bool knee : {true, false}) {
      for (const Subnet& subnet : data_.members) {
        if (!Has(subnet) || subnet.knee() != knee) continue;
        // The knee's text would cross the axis where it stands close to it: then it goes to the
        // other side.
        constexpr double kKneeText = 64;
        const double end = Px(subnet) + 1.3 * dx + (dx > 0 ? kKneeText : -kKneeText);
        const bool flipped = knee && (end < frame_.left || end > frame_.Right());
        const double side = flipped ? -dx : dx;
        const PlotPoint at = {Px(subnet) + (knee ? 1.3 * side : side),
                              Py(subnet) + (knee ? 1.3 * dy : dy)};
        const bool covered = std::any_of(placed.begin(), placed.end(), [&](const PlotPoint& other) {
          return std::fabs(at.x - other.x) < (knee ? 0 : 17) && std::fabs(at.y - other.y) < 13;
        });
        if (covered) continue;
        placed.push_back(at);
        const std::string text = knee ? absl::StrCat(data_.knee_word(), " · ", subnet.number)
                                      : absl::StrCat(subnet.number);
        // The knee's text is as wide as three numbers.
        if (knee) {
          for (int i = 1; i <= 3; ++i) placed.push_back({at.x + i * (side > 0 ? 16 : -16), at.y});
        }
        absl::StrAppendFormat(&svg, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s%s\">%s</text>", at.x,
                              at.y, side > 0 ? "start" : "end", knee ? " knee" : "", text);
      }
    }
    return absl::StrCat(svg, "</g>");
  }

  // Through the members that no other member beats on these two axes.
  std::string StepLine() const {
    std::vector<PlotPoint> values;
    for (const Subnet& subnet : data_.members) {
      if (Has(subnet)) values.push_back({subnet.readings[x_]->value, subnet.readings[y_]->value});
    }
    const bool up = data_.axes[y_].maximize;
    const bool right = data_.axes[x_].maximize;
    const std::vector<int> steps = Staircase(values, right, up);
    if (steps.empty()) return "";
    const double worst_y = up ? frame_.Bottom() : frame_.top;
    const double worst_x = right ? frame_.left : frame_.Right();
    const auto x = [&](size_t i) { return frame_.X(values[steps[i]].x); };
    const auto y = [&](size_t i) { return frame_.Y(values[steps[i]].y); };
    const size_t last = steps.size() - 1;
    std::string path = right ? absl::StrFormat("M%.1f %.1fH%.1f", worst_x, y(0), x(0))
                             : absl::StrFormat("M%.1f %.1fV%.1f", x(0), worst_y, y(0));
    for (size_t i = 1; i < steps.size(); ++i) {
      absl::StrAppend(&path, right ? absl::StrFormat("V%.1fH%.1f", y(i), x(i))
                                   : absl::StrFormat("H%.1fV%.1f", x(i), y(i)));
    }
    absl::StrAppend(&path,
                    right ? absl::StrFormat("V%.1f", worst_y) : absl::StrFormat("H%.1f", worst_x));
    const double corner_x = right ? x(last) : worst_x;
    const std::string area = absl::StrFormat("%sL%.1f %.1fL%.1f %.1fz", path, corner_x, worst_y,
                                             right ? worst_x : x(0), worst_y);
    return absl::StrCat("<path class=\"area\" d=\"", area, "\"/><path class=\"steps\" d=\"", path,
                        "\"/>");
  }

  std::string Bounds() const {
    std::string svg;
    for (const auto* bounds : {&data_.axes[x_].at_most, &data_.axes[x_].at_least}) {
      for (const double bound : *bounds) {
        absl::StrAppendFormat(&svg, "<path class=\"bound\" d=\"M%.1f %.1fV%.1f\"/>",
                              frame_.X(bound), frame_.top, frame_.Bottom());
      }
    }
    for (const auto* bounds : {&data_.axes[y_].at_most, &data_.axes[y_].at_least}) {
      for (const double bound : *bounds) {
        absl::StrAppendFormat(&svg, "<path class=\"bound\" d=\"M%.1f %.1fH%.1f\"/>", frame_.left,
                              frame_.Y(bound), frame_.Right());
      }
    }
    return svg;
  }

  const ReportData& data_;
  const int x_;
  const int y_;
  PlotFrame frame_;
};

bool Any(const std::vector<Subnet>& subnets, bool (Subnet::*what)() const) {
  return std::any_of(subnets.begin(), subnets.end(),
                     [&](const Subnet& subnet) { return (subnet.*what)(); });
}

bool HasBounds(const ReportData& data) {
  return std::any_of(data.axes.begin(), data.axes.end(), [](const Axis& axis) {
    return !axis.at_most.empty() || !axis.at_least.empty();
  });
}

// What the forms mean, where there is more than one.
template <typename Item>
std::string VerdictItems(const ReportData& data, Item item) {
  std::set<v1::Verdict::State> verdicts;
  for (const auto* subnets : {&data.members, &data.others}) {
    for (const Subnet& subnet : *subnets) {
      if (!subnet.infeasible() || subnet.member != nullptr) verdicts.insert(subnet.verdict);
    }
  }
  verdicts.erase(v1::Verdict::STATE_UNSPECIFIED);
  const bool plain = verdicts.empty() || *verdicts.rbegin() == v1::Verdict::TRUSTED;
  if (!data.measures() || plain) return "";
  std::string html;
  for (const v1::Verdict::State verdict : verdicts) {
    absl::StrAppend(&html,
                    item(absl::StrCat("<g class=\"form\">", Mark(verdict, 11, 7, 4.5), "/></g>"),
                         VerdictWord(verdict)));
  }
  return html;
}

std::string Legend(const ReportData& data) {
  const auto item = [](absl::string_view shape, absl::string_view text) {
    return absl::StrCat(
        "<li><svg viewBox=\"0 0 22 14\" width=\"22\" height=\"14\" aria-hidden=\"true\">", shape,
        "</svg>", text, "</li>");
  };
  std::string html = "<ul class=\"legend\">";
  if (!data.members.empty()) {
    absl::StrAppend(&html, item("<a class=\"member\"><circle cx=\"11\" cy=\"7\" r=\"5\"/></a>",
                                "on the frontier"));
  }
  if (Any(data.members, &Subnet::contested)) {
    absl::StrAppend(&html,
                    item("<a class=\"member contested\"><circle cx=\"11\" cy=\"7\" r=\"5\"/></a>",
                         "on the frontier, contested"));
  }
  if (data.Knee() != nullptr) {
    absl::StrAppend(&html, item(absl::StrCat("<a class=\"member knee\">", KneeRing(11, 7, 6.5),
                                             "<circle cx=\"11\" cy=\"7\" r=\"2.5\"/></a>"),
                                data.has_knee ? "knee, the best compromise"
                                : data.members.size() < 3
                                    ? "suggested: fewer than three members have no knee"
                                    : "suggested: its worst objective is best (no knee)"));
  }
  if (std::any_of(data.others.begin(), data.others.end(),
                  [](const Subnet& subnet) { return !subnet.infeasible(); })) {
    absl::StrAppend(&html, item("<g class=\"others\"><circle cx=\"11\" cy=\"7\" r=\"3.2\"/></g>",
                                absl::StrCat("other ", data.known, " subnet")));
  }
  if (Any(data.others, &Subnet::infeasible)) {
    absl::StrAppend(&html,
                    item("<g class=\"others\"><path class=\"cross\" d=\"M8 4l6 6m0 -6l-6 6\"/></g>",
                         absl::StrCat(data.known, ", breaks a constraint")));
  }
  absl::StrAppend(&html, VerdictItems(data, item));
  if (HasBounds(data)) {
    absl::StrAppend(&html, item("<path class=\"bound\" d=\"M0 7H22\"/>", "hard constraint"));
  }
  if (data.measures()) {
    absl::StrAppend(&html, item("<path class=\"bars member-bars\" d=\"M3 7H19M3 4v6M19 4v6\"/>",
                                "95 % interval"));
  }
  return absl::StrCat(html, "</ul>");
}

std::string Caption(const ReportData& data, int drawn) {
  std::string text = absl::StrCat(FormatCount(drawn), drawn == 1 ? " subnet has" : " subnets have",
                                  " both values.");
  const bool all_on_the_line = data.objectives.size() <= 2;
  if (!data.members.empty()) {
    absl::StrAppend(&text, " The line joins the frontier's members",
                    all_on_the_line
                        ? (data.measures() ? "; no subnet that was measured finally lies beyond it."
                                           : "; no other subnet lies beyond it.")
                        : " that no other beats on these two axes.",
                    " Numbers are those of the table.");
  }
  if (data.left_out > 0) {
    absl::StrAppend(&text, " ", FormatCount(static_cast<double>(data.left_out)),
                    " others, chosen evenly, are left out of the drawing.");
  }
  return text;
}

}  // namespace

std::vector<int> Staircase(const std::vector<PlotPoint>& points, bool maximize_x, bool maximize_y) {
  std::vector<int> order(points.size());
  std::iota(order.begin(), order.end(), 0);
  const double sx = maximize_x ? -1 : 1;
  const double sy = maximize_y ? -1 : 1;
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return std::make_pair(sx * points[a].x, sy * points[a].y) <
           std::make_pair(sx * points[b].x, sy * points[b].y);
  });
  std::vector<int> steps;
  double best = INFINITY;
  for (const int i : order) {
    if (sy * points[i].y >= best) continue;
    best = sy * points[i].y;
    steps.push_back(i);
  }
  if (maximize_x) std::reverse(steps.begin(), steps.end());
  return steps;
}

std::string ScatterPlotHtml(const ReportData& data) {
  const int x = data.DefaultX();
  const int y = data.DefaultY();
  if (x < 0 || y < 0 || (data.members.empty() && data.others.empty())) {
    return "<p class=\"empty\">Nothing has been measured yet, so there is nothing to plot.</p>";
  }
  const Drawing drawing(data, x, y);
  int drawn = 0;
  for (const auto* subnets : {&data.others, &data.members}) {
    for (const Subnet& subnet : *subnets) drawn += drawing.Has(subnet) ? 1 : 0;
  }
  if (drawn == 0) {
    return absl::StrCat("<p class=\"empty\">No subnet was ", data.known,
                        " in full, so there is nothing to plot.</p>");
  }
  std::string html = "<figure class=\"card plot\">";
  absl::StrAppend(
      &html, "<input type=\"checkbox\" id=\"all-bars\"><div class=\"plot-head\">", Legend(data),
      "<div class=\"controls\"><span id=\"axis-choice\" hidden><label>vertical <select "
      "id=\"axis-y\">"
      "</select></label><label>horizontal <select id=\"axis-x\"></select></label></span>"
      "<label class=\"toggle\" for=\"all-bars\">intervals of all</label></div></div>");
  absl::StrAppendFormat(
      &html,
      "<div class=\"drawing\"><svg id=\"frontier-plot\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
      "aria-label=\"Subnets and the frontier\">",
      drawing.frame().width, drawing.frame().height);
  absl::StrAppend(
      &html, drawing.Svg(), "</svg></div><figcaption id=\"plot-caption\">", Caption(data, drawn),
      "</figcaption></figure><div id=\"tip\" role=\"status\" hidden></div>",
      "<script type=\"application/json\" id=\"plot-data\">", PlotDataJson(data), "</script>");
  return html;
}

}  // namespace forall
