// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/hypervolume.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "search/pareto/pareto_filter.h"
#include "search/pareto/point_order.h"
#include "search/pareto/staircase.h"

namespace forall {
namespace {

absl::Status CheckArguments(const PointsView& points, absl::Span<const double> reference) {
  FORALL_RETURN_IF_ERROR(CheckPoints(points));
  if (reference.size() != static_cast<size_t>(points.objectives)) {
    return absl::InvalidArgumentError(absl::StrCat("the reference point has ", reference.size(),
                                                   " objectives, the points have ",
                                                   points.objectives));
  }
  for (const double value : reference) {
    if (!std::isfinite(value)) {
      return absl::InvalidArgumentError("the reference point of a hypervolume must be finite");
    }
  }
  for (const double value : points.values) {
    if (value == -std::numeric_limits<double>::infinity()) {
      return absl::InvalidArgumentError("a point at minus infinity has no finite hypervolume");
    }
  }
  return absl::OkStatus();
}

double Box(const double* p, const double* reference, int k) {
  double volume = 1;
  for (int c = 0; c < k; ++c) volume *= reference[c] - p[c];
  return volume;
}

// Below, rows are in lexicographic order and strictly better than the reference.

double Sweep2(const PointsView& points, const std::vector<int32_t>& order,
              const double* reference) {
  double volume = 0;
  double height = reference[1];
  for (const int32_t row : order) {
    const double* p = points[row];
    if (p[1] >= height) continue;
    volume += (reference[0] - p[0]) * (height - p[1]);
    height = p[1];
  }
  return volume;
}

double Sweep3(const PointsView& points, const std::vector<int32_t>& order,
              const double* reference) {
  Staircase staircase;
  double volume = 0;
  for (const int32_t row : order) {
    const double* p = points[row];
    if (staircase.Covers(p[1], p[2])) continue;
    volume +=
        (reference[0] - p[0]) * staircase.InsertAndGain(p[1], p[2], reference[1], reference[2]);
  }
  return volume;
}

// The area below a limit that 2-D points dominate, grown point by point, like Staircase but in one
// array: the sets here are small and are thrown away after each use.
class FlatStaircase {
 public:
  void Clear() { steps_.clear(); }

  double Add(double a, double b, double limit_a, double limit_b) {
    const auto begin =
        std::partition_point(steps_.begin(), steps_.end(), [a](const Step& s) { return s.a < a; });
    double height = begin == steps_.begin() ? limit_b : (begin - 1)->b;
    if (height <= b || (begin != steps_.end() && begin->a == a && begin->b <= b)) return 0;
    double left = a;
    double gain = 0;
    auto end = begin;
    for (; end != steps_.end() && end->b >= b; ++end) {
      gain += (end->a - left) * (height - b);
      left = end->a;
      height = end->b;
    }
    gain += ((end == steps_.end() ? limit_a : end->a) - left) * (height - b);
    if (begin == end) {
      steps_.insert(begin, {a, b});
    } else {
      *begin = {a, b};
      steps_.erase(begin + 1, end);
    }
    return gain;
  }

 private:
  struct Step {
    double a;
    double b;
  };
  std::vector<Step> steps_;
};

using Point3 = std::array<double, 3>;

// A growing set of 3-D points that tells what each new one adds. O(size) an insertion, as far as
// the staircases of limited points stay small.
class Volume3 {
 public:
  explicit Volume3(const double* reference) : reference_(reference) {}

  // The volume that `p` dominates and no earlier point did.
  double AddAndGain(const Point3& p) {
    limited_.Clear();
    double shared = 0;
    for (const Point3& q : points_) {
      const double a = std::max(q[1], p[1]);
      const double b = std::max(q[2], p[2]);
      if (q[0] <= p[0] && a == p[1] && b == p[2]) return 0;
      const double gain = limited_.Add(a, b, reference_[1], reference_[2]);
      shared += gain * (reference_[0] - std::max(q[0], p[0]));
    }
    Insert(p);
    return Box(p.data(), reference_, 3) - shared;
  }

 private:
  void Insert(const Point3& p) {
    points_.erase(
        std::remove_if(points_.begin(), points_.end(),
                       [&p](const Point3& q) { return WeaklyDominates(p.data(), q.data(), 3); }),
        points_.end());
    points_.insert(std::upper_bound(points_.begin(), points_.end(), p), p);
  }

  const double* reference_;
  std::vector<Point3> points_;  // a frontier, ascending in the first objective
  FlatStaircase limited_;
};

double Sweep4(const PointsView& points, const std::vector<int32_t>& order,
              const double* reference) {
  Volume3 slice(reference + 1);
  double volume = 0;
  for (const int32_t row : order) {
    const double* p = points[row];
    volume += (reference[0] - p[0]) * slice.AddAndGain({p[1], p[2], p[3]});
  }
  return volume;
}

double VolumeBelow(const PointsView& points, const double* reference);

// The volume that `p` dominates and none of `others` does. `others` need not be better than the
// reference.
double ExclusiveVolume(const double* p, const std::vector<double>& others, const double* reference,
                       int k) {
  std::vector<double> limited(others.size());
  for (size_t i = 0; i < others.size(); i += k) {
    for (int c = 0; c < k; ++c) limited[i + c] = std::max(others[i + c], p[c]);
  }
  return Box(p, reference, k) - VolumeBelow(PointsView{limited, k}, reference);
}

double SweepAny(const PointsView& points, const std::vector<int32_t>& order,
                const double* reference) {
  const int k = points.objectives;
  std::vector<double> earlier;
  double volume = 0;
  for (const int32_t row : order) {
    const double* p = points[row];
    volume += (reference[0] - p[0]) * ExclusiveVolume(p + 1, earlier, reference + 1, k - 1);
    earlier.insert(earlier.end(), p + 1, p + k);
  }
  return volume;
}

// Those of `rows` that are strictly better than the reference, in lexicographic order.
std::vector<int32_t> InsideRows(const PointsView& points, const std::vector<int32_t>& rows,
                                const double* reference) {
  std::vector<int32_t> inside;
  for (const int32_t row : rows) {
    bool better = true;
    for (int c = 0; c < points.objectives; ++c) better &= points[row][c] < reference[c];
    if (better) inside.push_back(row);
  }
  return LexicographicOrder(points, inside);
}

double VolumeBelow(const PointsView& points, const double* reference) {
  // From four objectives on every further point costs more than the filter does.
  const std::vector<int32_t> order = InsideRows(
      points,
      points.objectives >= 4 ? ParetoFilter(points).value() : RowsNotDominatedByPivot(points),
      reference);
  switch (points.objectives) {
    case 1:
      return order.empty() ? 0.0 : reference[0] - points[order.front()][0];
    case 2:
      return Sweep2(points, order, reference);
    case 3:
      return Sweep3(points, order, reference);
    case 4:
      return Sweep4(points, order, reference);
    default:
      return SweepAny(points, order, reference);
  }
}

// In lexicographic order a member's exclusive rectangle ends at its two neighbours.
void Contribute2(const PointsView& points, const std::vector<int32_t>& frontier,
                 const double* reference, std::vector<double>* contribution) {
  for (size_t i = 0; i < frontier.size(); ++i) {
    const double* p = points[frontier[i]];
    const double right = i + 1 < frontier.size() ? points[frontier[i + 1]][0] : reference[0];
    const double top = i > 0 ? points[frontier[i - 1]][1] : reference[1];
    (*contribution)[frontier[i]] = (right - p[0]) * (top - p[1]);
  }
}

void ContributeAny(const PointsView& points, const std::vector<int32_t>& frontier,
                   const double* reference, std::vector<double>* contribution) {
  const int k = points.objectives;
  for (const int32_t row : frontier) {
    std::vector<double> others;
    for (const int32_t other : frontier) {
      if (other != row) others.insert(others.end(), points[other], points[other] + k);
    }
    // A difference of two volumes may round below zero.
    (*contribution)[row] = std::max(0.0, ExclusiveVolume(points[row], others, reference, k));
  }
}

}  // namespace

absl::StatusOr<double> Hypervolume(const PointsView& points, absl::Span<const double> reference) {
  FORALL_RETURN_IF_ERROR(CheckArguments(points, reference));
  return VolumeBelow(points, reference.data());
}

absl::StatusOr<std::vector<double>> HypervolumeContributions(const PointsView& points,
                                                             absl::Span<const double> reference) {
  FORALL_RETURN_IF_ERROR(CheckArguments(points, reference));
  FORALL_ASSIGN_OR_RETURN(const std::vector<int32_t> rows,
                          ParetoFilter(points, Duplicates::kKeepAll));
  const std::vector<int32_t> frontier = InsideRows(points, rows, reference.data());
  std::vector<double> contribution(points.size(), 0.0);
  if (points.objectives == 2) {
    Contribute2(points, frontier, reference.data(), &contribution);
  } else {
    ContributeAny(points, frontier, reference.data(), &contribution);
  }
  return contribution;
}

}  // namespace forall
