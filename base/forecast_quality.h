// SPDX-License-Identifier: Apache-2.0
// How well predictions held: what was expected of architectures before they were measured, against
// what was then measured.
#ifndef FORALL_BASE_FORECAST_QUALITY_H_
#define FORALL_BASE_FORECAST_QUALITY_H_

#include <cstdint>
#include <optional>

#include "absl/types/span.h"

namespace forall {

// Of one metric and one architecture, in the metric's unit.
struct Forecast {
  double expected = 0;
  double deviation = 0;  // standard deviation that was claimed; 0: said to be known exactly
  double measured = 0;
};

struct ForecastQuality {
  int64_t count = 0;
  // Mean of |expected - measured| / |measured|, 0.03 for 3 %. Pairs that measured 0 have no
  // relative error and are left out; absent when that leaves none.
  std::optional<double> mean_relative_error;
  // Shares of all pairs with an error of at most so many percent of what was measured.
  double within_5_percent = 0;
  double within_10_percent = 0;
  double within_15_percent = 0;
  // Mean of expected - measured, in the metric's unit: above 0 where too much was expected.
  double mean_signed_error = 0;
  // Kendall's tau-b and Spearman's rho with mean ranks for ties (Kendall, "The treatment of ties in
  // ranking problems", Biometrika 1945). Absent where a side has no two different values.
  std::optional<double> kendall_tau;
  std::optional<double> spearman_rho;
  // Share of pairs measured inside expected +- 1.96 deviations. A deviation is of what the metric
  // is believed to be, without the noise of a further measurement: with good predictions it is 0.95
  // where measurements do not scatter, less where they do.
  double within_interval = 0;
};

// Pairs that are not finite are left out. O(n log n).
ForecastQuality JudgeForecasts(absl::Span<const Forecast> forecasts);

}  // namespace forall

#endif  // FORALL_BASE_FORECAST_QUALITY_H_
