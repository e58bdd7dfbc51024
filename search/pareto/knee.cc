// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/knee.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/status_macros.h"
#include "search/pareto/pareto_filter.h"

namespace forall {
namespace {

// Rounding of scaled sums must not decide which side of the line a point is on.
constexpr double kTolerance = 1e-12;

struct Scaled {
  double distance;  // 1 - sum of the scaled objectives: positive on the side of the ideal point
  double worst;
};

std::vector<Scaled> Scale(const PointsView& points, const std::vector<int32_t>& frontier) {
  std::vector<double> sum(frontier.size(), 0.0);
  std::vector<double> worst(frontier.size(), 0.0);
  for (int c = 0; c < points.objectives; ++c) {
    double low = std::numeric_limits<double>::infinity();
    double high = -low;
    for (const int32_t row : frontier) {
      low = std::min(low, points[row][c]);
      high = std::max(high, points[row][c]);
    }
    // Halves, so that the range of values of opposite sign cannot overflow.
    const double half_range = high / 2 - low / 2;
    if (!(half_range > 0)) continue;
    for (size_t i = 0; i < frontier.size(); ++i) {
      const double scaled = (points[frontier[i]][c] / 2 - low / 2) / half_range;
      sum[i] += scaled;
      worst[i] = std::max(worst[i], scaled);
    }
  }
  std::vector<Scaled> result;
  for (size_t i = 0; i < frontier.size(); ++i) result.push_back({1 - sum[i], worst[i]});
  return result;
}

// The non-dominated rows.
absl::StatusOr<std::vector<int32_t>> Members(const PointsView& points) {
  FORALL_ASSIGN_OR_RETURN(std::vector<int32_t> frontier, ParetoFilter(points));
  if (frontier.empty()) return absl::InvalidArgumentError("a knee needs at least one point");
  for (const double value : points.values) {
    if (std::isinf(value)) return absl::InvalidArgumentError("a knee needs finite objectives");
  }
  return frontier;
}

bool Bends(const std::vector<Scaled>& scaled) {
  return std::any_of(scaled.begin(), scaled.end(),
                     [](const Scaled& s) { return s.distance > kTolerance; });
}

}  // namespace

absl::StatusOr<bool> HasKnee(const PointsView& points) {
  FORALL_ASSIGN_OR_RETURN(const std::vector<int32_t> frontier, Members(points));
  return frontier.size() > 2 && Bends(Scale(points, frontier));
}

absl::StatusOr<int32_t> KneeRow(const PointsView& points) {
  FORALL_ASSIGN_OR_RETURN(const std::vector<int32_t> frontier, Members(points));
  const std::vector<Scaled> scaled = Scale(points, frontier);
  const bool convex = Bends(scaled);
  size_t knee = 0;
  for (size_t i = 1; i < scaled.size(); ++i) {
    const double gain = convex ? scaled[i].distance - scaled[knee].distance : 0;
    if (gain > kTolerance || (gain >= -kTolerance && scaled[i].worst < scaled[knee].worst)) {
      knee = i;
    }
  }
  return frontier[knee];
}

}  // namespace forall
