// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/dominance.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"

namespace forall {

absl::Status CheckPoints(const PointsView& points) {
  if (points.objectives < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("points need at least one objective, got ", points.objectives));
  }
  if (points.values.size() % points.objectives != 0) {
    return absl::InvalidArgumentError(absl::StrCat(points.values.size(),
                                                   " values are no whole number of points with ",
                                                   points.objectives, " objectives"));
  }
  if (points.size() > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat("too many points: ", points.size()));
  }
  // One flag over all values instead of an early exit lets the compiler vectorise the usual case.
  bool has_nan = false;
  for (const double value : points.values) has_nan |= value != value;
  if (!has_nan) return absl::OkStatus();
  for (size_t i = 0; i < points.values.size(); ++i) {
    if (std::isnan(points.values[i])) {
      return absl::InvalidArgumentError(absl::StrCat("point ", i / points.objectives,
                                                     " has no number (NaN) for objective ",
                                                     i % points.objectives));
    }
  }
  return absl::OkStatus();
}

}  // namespace forall
