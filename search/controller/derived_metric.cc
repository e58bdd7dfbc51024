// SPDX-License-Identifier: Apache-2.0
#include "search/controller/derived_metric.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/log.h"

namespace forall {
namespace {

constexpr char kGridUnit[] = " g/kWh";
constexpr double kMillisPerSecond = 1e3;
// 1 kWh is 3.6e6 J, and grams of joules are milligrams of millijoules.
constexpr double kJoulesPerKwh = 3.6e6;
// Where the interval of a latency begins at 0, that of its rate has no end.
constexpr double kMostPerSecond = 1e12;

}  // namespace

std::string GridName(double grams_per_kwh) {
  return grams_per_kwh > 0 ? absl::StrFormat("%.9g%s", grams_per_kwh, kGridUnit) : "";
}

double GridIntensity(const std::string& name) {
  absl::string_view number = name;
  double intensity = 0;
  if (!absl::ConsumeSuffix(&number, kGridUnit) || !absl::SimpleAtod(number, &intensity) ||
      !std::isfinite(intensity)) {
    return 0;
  }
  return intensity;
}

const std::string& MeasuredFor(const MetricInfo& metric) {
  return metric.derived_from.empty() ? metric.id : metric.derived_from;
}

MeasurementRecord Derive(const MeasurementRecord& source, const MetricInfo& metric,
                         double grid_grams_per_kwh) {
  MeasurementRecord derived = source;
  derived.id = 0;
  derived.key.metric = metric.id;
  derived.ratio = 0;
  derived.raw_median_ms = 0;
  derived.reference_median_ms = 0;
  derived.baseline_reference_ms = 0;
  derived.baseline_id.clear();
  if (metric.id == kThroughput) {
    const double images = kMillisPerSecond * source.key.batch;
    const auto rate = [&](double milliseconds) {
      return milliseconds > 0 ? std::min(images / milliseconds, kMostPerSecond) : kMostPerSecond;
    };
    // A measurement that was rejected may have no number.
    derived.value = source.value > 0 ? rate(source.value) : 0;
    derived.low = source.high > 0 ? rate(source.high) : 0;
    derived.high = source.value > 0 ? rate(source.low) : 0;
    return derived;
  }
  FORALL_CHECK(metric.id == kCarbon) << "not derived: " << metric.id;
  derived.key.dataset = GridName(grid_grams_per_kwh);
  const double factor = grid_grams_per_kwh / kJoulesPerKwh;
  derived.value = source.value * factor;
  derived.low = source.low * factor;
  derived.high = source.high * factor;
  return derived;
}

}  // namespace forall
