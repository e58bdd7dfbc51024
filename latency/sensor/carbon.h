// SPDX-License-Identifier: Apache-2.0
// What energy costs the climate, where somebody says what the grid does.
#ifndef FORALL_LATENCY_SENSOR_CARBON_H_
#define FORALL_LATENCY_SENSOR_CARBON_H_

#include "absl/status/statusor.h"

namespace forall {

// Grams of CO2 equivalent of `joules` from a grid of `grams_per_kwh` (grams of CO2 equivalent per
// kilowatt-hour). There is no default: intensities differ twentyfold between grids and hours, so
// the user names it. InvalidArgument when either is negative or no finite number.
absl::StatusOr<double> CarbonGrams(double joules, double grams_per_kwh);

}  // namespace forall

#endif  // FORALL_LATENCY_SENSOR_CARBON_H_
