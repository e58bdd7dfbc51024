// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"
#include "search/report/html_text.h"
#include "search/report/plot_frame.h"
#include "search/report/scatter_plot.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

Json AxisJson(const Axis& axis) {
  Json bounds = Json::array();
  for (const double bound : axis.at_most) bounds.push_back(bound);
  for (const double bound : axis.at_least) bounds.push_back(bound);
  return {{"label", axis.label},
          {"unit", axis.unit},
          {"digits", axis.digits},
          {"max", axis.maximize},
          {"bounds", bounds}};
}

// As many digits as are shown: more would only make the page larger.
double Rounded(const Axis& axis, double value) {
  double scale = 10;
  for (int i = 0; i < axis.digits; ++i) scale *= 10;
  return std::round(value * scale) / scale;
}

Json PointJson(const ReportData& data, const Subnet& subnet) {
  Json values = Json::array();
  for (size_t i = 0; i < data.axes.size(); ++i) {
    if (!subnet.readings[i].has_value()) {
      values.push_back(nullptr);
      continue;
    }
    const Reading& reading = *subnet.readings[i];
    Json value = Json::array({Rounded(data.axes[i], reading.value)});
    if (reading.high > reading.low) {
      value.push_back(Rounded(data.axes[i], reading.low));
      value.push_back(Rounded(data.axes[i], reading.high));
    }
    values.push_back(std::move(value));
  }
  const char* kind = subnet.contested()         ? "contested"
                     : subnet.member != nullptr ? "certain"
                     : subnet.infeasible()      ? "infeasible"
                                                : "other";
  return {{"trial", std::string(LastSegment(subnet.trial->name()))},
          {"net", subnet.architecture},
          {"kind", kind},
          {"knee", subnet.knee()},
          {"number", subnet.number},
          {"verdict", data.measures() ? VerdictWord(subnet.verdict) : ""},
          {"reasons", subnet.reasons},
          {"v", std::move(values)}};
}

}  // namespace

std::string PlotDataJson(const ReportData& data) {
  const PlotFrame frame;
  Json json;
  json["frame"] = {{"w", frame.width}, {"h", frame.height}, {"l", frame.left},
                   {"r", frame.right}, {"t", frame.top},    {"b", frame.bottom}};
  json["mark"] = data.knee_word();
  json["x"] = data.DefaultX();
  json["y"] = data.DefaultY();
  json["axes"] = Json::array();
  for (const Axis& axis : data.axes) json["axes"].push_back(AxisJson(axis));
  json["points"] = Json::array();
  for (const auto* subnets : {&data.members, &data.others}) {
    for (const Subnet& subnet : *subnets) json["points"].push_back(PointJson(data, subnet));
  }
  // Text that is not UTF-8 must not throw; "</script" and "<!--" must not be seen by the parser.
  return absl::StrReplaceAll(json.dump(-1, ' ', false, Json::error_handler_t::replace),
                             {{"<", "\\u003c"}, {">", "\\u003e"}, {"&", "\\u0026"}});
}

}  // namespace forall
