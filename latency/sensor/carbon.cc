// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/carbon.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace forall {

absl::StatusOr<double> CarbonGrams(double joules, double grams_per_kwh) {
  constexpr double kJoulesPerKwh = 3.6e6;
  if (!std::isfinite(joules) || joules < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("energy is ", joules, " J: it must be a number of 0 or more"));
  }
  if (!std::isfinite(grams_per_kwh) || grams_per_kwh < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("grid intensity is ", grams_per_kwh,
                     " g/kWh: give the grams of CO2 equivalent per kilowatt-hour of the grid that "
                     "feeds the device, 0 or more"));
  }
  return joules / kJoulesPerKwh * grams_per_kwh;
}

}  // namespace forall
