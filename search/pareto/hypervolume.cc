// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/hypervolume.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "search/pareto/hypervolume_3d.h"
#include "search/pareto/largest_box.h"
#include "search/pareto/pareto_filter.h"
#include "search/pareto/point_order.h"
#include "search/pareto/rank_set.h"

namespace forall {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

absl::Status CheckReference(const PointsView& points, absl::Span<const double> reference) {
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
  return absl::OkStatus();
}

absl::Status CheckArguments(const PointsView& points, absl::Span<const double> reference) {
  FORALL_RETURN_IF_ERROR(CheckPoints(points));
  FORALL_RETURN_IF_ERROR(CheckReference(points, reference));
  bool bottomless = false;
  for (const double value : points.values) bottomless |= value == -kInfinity;
  if (bottomless) {
    return absl::InvalidArgumentError("a point at minus infinity has no finite hypervolume");
  }
  return absl::OkStatus();
}

double Box(const double* p, const double* reference, int k) {
  double volume = 1;
  for (int c = 0; c < k; ++c) volume *= reference[c] - p[c];
  return volume;
}

// Below, rows ascend in the first objective and are strictly better than the reference. The order
// of rows that are equal in it does not matter.

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

// Points are added in the order of the first objective; the volume is the sum of the areas that
// they newly dominate in the other two. All values being known, the frontier in the plane is a list
// over their ranks in the second objective, and a set of ranks tells a point's neighbour in it.
double Sweep3(const PointsView& points, const std::vector<int32_t>& order,
              const double* reference) {
  struct Step {
    double a;
    double b;
    size_t next;
  };
  const size_t last = order.size() + 1;
  std::vector<Step> steps(order.size() + 2);
  steps.front() = {-kInfinity, reference[2], last};
  steps.back() = {reference[1], -kInfinity, last};
  std::vector<int32_t> rank(points.size());
  int32_t next_rank = 0;
  for (const int32_t row : OrderByObjective(points, order, 1)) rank[row] = ++next_rank;
  RankSet ranks(order.size() + 2);
  ranks.Insert(0);
  double volume = 0;
  for (const int32_t row : order) {
    const double* p = points[row];
    const auto place = static_cast<size_t>(rank[row]);
    Step& before = steps[ranks.Previous(place)];
    double height = before.b;
    if (height <= p[2]) continue;
    double area = 0;
    double left = p[1];
    size_t next = before.next;
    for (; steps[next].b >= p[2]; next = steps[next].next) {
      area += (steps[next].a - left) * (height - p[2]);
      left = steps[next].a;
      height = steps[next].b;
      ranks.Erase(next);
    }
    area += (steps[next].a - left) * (height - p[2]);
    steps[place] = {p[1], p[2], next};
    before.next = place;
    ranks.Insert(place);
    volume += (reference[0] - p[0]) * area;
  }
  return volume;
}

// The area below a limit that 2-D points dominate, grown point by point, in one array: the sets
// here are small and are thrown away after each use.
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

// The volume that a 3-D point dominates below a reference and no point of a set does. The points of
// the set, each limited to the region below the point, are swept upwards in the last objective;
// most lie where nearer ones have limited the point already, which two comparisons tell.
class Exclusive3 {
 public:
  explicit Exclusive3(const double* reference)
      : limit_{reference[0], reference[1]}, top_(reference[2]) {}

  // `points` ascend in the last objective. O(size) plus what the few that matter cost.
  double Volume(const Point3& p, const std::vector<Point3>& points) {
    // Those below `p` in the last objective limit it from the start: first the two nearest to its
    // sides, which hide most of the others.
    size_t below = 0;
    double right = limit_[0];
    double upper = limit_[1];
    for (; below < points.size() && points[below][2] <= p[2]; ++below) {
      const Point3& q = points[below];
      right = std::min(right, q[0] + (q[1] <= p[1] ? 0 : kInfinity));
      upper = std::min(upper, q[1] + (q[0] <= p[0] ? 0 : kInfinity));
    }
    if (right <= p[0] || upper <= p[1]) return 0;
    const double width = right - p[0];
    const double height = upper - p[1];
    double area = width * height;
    limited_.Clear();
    for (size_t i = 0; i < below; ++i) {
      const Point3& q = points[i];
      // One branch, which is nearly always taken, for two comparisons that nobody could foresee.
      const bool beside = q[0] >= right;
      const bool above = q[1] >= upper;
      if (beside | above) continue;
      area -= limited_.Add(q[0], q[1], right, upper);
    }
    double volume = 0;
    double bottom = p[2];
    double near_right = right;
    double near_upper = upper;
    for (size_t i = below; i < points.size(); ++i) {
      const Point3& q = points[i];
      const bool beside = q[0] >= near_right;
      const bool above = q[1] >= near_upper;
      if (beside | above) continue;
      volume += area * (q[2] - bottom);
      bottom = q[2];
      const double a = std::max(q[0], p[0]);
      const double b = std::max(q[1], p[1]);
      if (a == p[0] && b == p[1]) return volume;
      area -= limited_.Add(a, b, right, upper);
      if (a == p[0]) near_upper = b;
      if (b == p[1]) near_right = a;
    }
    return volume + area * (top_ - bottom);
  }

 private:
  const std::array<double, 2> limit_;
  const double top_;
  FlatStaircase limited_;
};

bool LowerLast(const Point3& a, const Point3& b) { return a[2] < b[2]; }

double Sweep4(const PointsView& points, const std::vector<int32_t>& order,
              const double* reference) {
  Exclusive3 exclusive(reference + 1);
  std::vector<Point3> slice;  // the frontier of the last three objectives so far
  double volume = 0;
  for (const int32_t row : order) {
    const Point3 p = {points[row][1], points[row][2], points[row][3]};
    const double gain = exclusive.Volume(p, slice);
    if (gain == 0) continue;
    volume += (reference[0] - points[row][0]) * gain;
    // Only those from the point's place on can be dominated by it.
    const auto place = std::lower_bound(slice.begin(), slice.end(), p, LowerLast);
    const auto end = std::remove_if(place, slice.end(), [&p](const Point3& q) {
      return WeaklyDominates(p.data(), q.data(), 3);
    });
    slice.erase(end, slice.end());
    slice.insert(place, p);
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

// Those of `rows` that are strictly better than the reference, ascending in the first objective.
std::vector<int32_t> InsideRows(const PointsView& points, const std::vector<int32_t>& rows,
                                const double* reference) {
  std::vector<int32_t> inside(rows.size());
  size_t kept = 0;
  for (const int32_t row : rows) {
    bool better = true;
    for (int c = 0; c < points.objectives; ++c) better &= points[row][c] < reference[c];
    inside[kept] = row;
    kept += better ? 1 : 0;
  }
  inside.resize(kept);
  return OrderByObjective(points, inside, 0);
}

// The rows to sweep, ascending in the first objective.
std::vector<int32_t> RowsToSweep(const PointsView& points, const double* reference) {
  const auto ordered = [&](const std::vector<int32_t>& rows) {
    return OrderByObjective(points, rows, 0);
  };
  switch (points.objectives) {
    case 1:
      return ordered(RowsBesideLargestBox<1>(points, reference));
    case 2:
      return ordered(RowsBesideLargestBox<2>(points, reference));
    case 3:
      return ordered(RowsBesideLargestBox<3>(points, reference));
    case 4:
      return ordered(RowsBesideLargestBox<4>(points, reference));
    default:
      // Every further point costs more than the filter does.
      return InsideRows(points, ParetoFilter(points).value(), reference);
  }
}

double VolumeBelow(const PointsView& points, const double* reference) {
  const std::vector<int32_t> order = RowsToSweep(points, reference);
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

// Members ascend in the first objective and descend in the second: a member's exclusive rectangle
// ends at its two neighbours.
void Contribute2(const PointsView& points, const std::vector<int32_t>& frontier,
                 const double* reference, std::vector<double>* contribution) {
  for (size_t i = 0; i < frontier.size(); ++i) {
    const double* p = points[frontier[i]];
    const double right = i + 1 < frontier.size() ? points[frontier[i + 1]][0] : reference[0];
    const double top = i > 0 ? points[frontier[i - 1]][1] : reference[1];
    (*contribution)[frontier[i]] = (right - p[0]) * (top - p[1]);
  }
}

// What each point of a frontier dominates alone, by one sweep upwards in the last objective after
// Emmerich and Fonseca ("Computing hypervolume contributions in low dimensions: asymptotically
// optimal algorithm and complexity results", EMO 2011). The steps of the frontier in the plane so
// far form a list over the ranks of their first objective, as in Sweep3. The area that is a step's
// alone is kept as columns from left to right, each lower than the one before it; a new point cuts
// the columns of its two neighbours and takes the place of the steps that it covers, so that all
// columns ever made are less than twice the points.
class ContributionSweep {
 public:
  ContributionSweep(size_t points, const double* reference)
      : last_(points + 1), top_(reference[2]), steps_(points + 2), ranks_(points + 2) {
    steps_.front() = {.x = -kInfinity, .y = reference[1], .next = last_};
    steps_.back() = {.x = reference[0], .y = -kInfinity, .next = last_};
    columns_.reserve(2 * points);
    ranks_.Insert(0);
  }

  // In ascending order of the last objective, z. `place` is the rank of x among all, from 1;
  // `contribution` is written until Finish.
  void Add(size_t place, double x, double y, double z, double* contribution) {
    Step& before = steps_[ranks_.Previous(place)];
    if (before.y <= y) {
      // Of a frontier: the same point once more, and neither dominates anything alone.
      Settle(&before, z);
      before.area = 0;
      before.first_column = before.last_column = kNone;
      return;
    }
    Settle(&before, z);
    CutRight(&before, x);
    Step added{.x = x, .y = y, .since = z, .contribution = contribution};
    double left = x;
    double height = before.y;
    size_t next = before.next;
    for (; steps_[next].y >= y; next = steps_[next].next) {
      Append(&added, left, steps_[next].x, height);
      left = steps_[next].x;
      height = steps_[next].y;
      Settle(&steps_[next], z);
      ranks_.Erase(next);
    }
    Append(&added, left, steps_[next].x, height);
    Settle(&steps_[next], z);
    CutTop(&steps_[next], y);
    added.next = next;
    before.next = place;
    steps_[place] = added;
    ranks_.Insert(place);
  }

  void Finish() {
    for (size_t i = steps_.front().next; i != last_; i = steps_[i].next) Settle(&steps_[i], top_);
  }

 private:
  static constexpr int32_t kNone = -1;

  struct Step {
    double x = 0;
    double y = 0;
    size_t next = 0;
    double area = 0;  // its own, up to which its volume is counted from `since` on
    double since = 0;
    double* contribution = nullptr;
    int32_t first_column = kNone;
    int32_t last_column = kNone;
  };
  // From the right end of the column before it, or from the step's x; from the step's y to `top`.
  struct Column {
    double right;
    double top;
    int32_t before;
    int32_t after;
  };

  static void Settle(Step* step, double z) {
    if (step->contribution == nullptr) return;
    *step->contribution += step->area * (z - step->since);
    step->since = z;
  }

  void Append(Step* step, double left, double right, double top) {
    if (left == right || top == step->y) return;
    const auto column = static_cast<int32_t>(columns_.size());
    columns_.push_back({right, top, step->last_column, kNone});
    (step->last_column == kNone ? step->first_column : columns_[step->last_column].after) = column;
    step->last_column = column;
    step->area += (right - left) * (top - step->y);
  }

  double LeftOf(const Step& step, const Column& column) const {
    return column.before == kNone ? step.x : columns_[column.before].right;
  }

  // Takes from the step what lies to the right of x.
  void CutRight(Step* step, double x) {
    while (step->last_column != kNone) {
      Column& column = columns_[step->last_column];
      const double left = LeftOf(*step, column);
      step->area -= std::max(0.0, column.right - std::max(left, x)) * (column.top - step->y);
      if (left < x) {
        column.right = std::min(column.right, x);
        column.after = kNone;
        return;
      }
      step->last_column = column.before;
    }
    step->first_column = kNone;
    step->area = 0;
  }

  // Takes from the step what lies above y. Columns that reach higher become one.
  void CutTop(Step* step, double y) {
    double left = step->x;
    int32_t cut = kNone;
    int32_t i = step->first_column;
    for (; i != kNone && columns_[i].top > y; i = columns_[i].after) {
      step->area -= (columns_[i].right - left) * (columns_[i].top - y);
      left = columns_[i].right;
      cut = i;
    }
    if (cut == kNone) return;
    columns_[cut].top = y;
    columns_[cut].before = kNone;
    step->first_column = cut;
  }

  const size_t last_;
  const double top_;
  std::vector<Step> steps_;
  std::vector<Column> columns_;
  RankSet ranks_;
};

void Contribute3(const PointsView& points, const std::vector<int32_t>& frontier,
                 const double* reference, std::vector<double>* contribution) {
  std::vector<int32_t> rank(points.size());
  int32_t next_rank = 0;
  for (const int32_t row : OrderByObjective(points, frontier, 0)) rank[row] = ++next_rank;
  ContributionSweep sweep(frontier.size(), reference);
  for (const int32_t row : OrderByObjective(points, frontier, 2)) {
    const double* p = points[row];
    sweep.Add(static_cast<size_t>(rank[row]), p[0], p[1], p[2], &(*contribution)[row]);
  }
  sweep.Finish();
  // What was taken from an area bit by bit may have rounded below zero.
  for (const int32_t row : frontier) (*contribution)[row] = std::max(0.0, (*contribution)[row]);
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
  if (points.objectives == 3 && CheckReference(points, reference).ok()) {
    const std::optional<double> volume = SpreadHypervolume3(points, reference.data());
    if (volume.has_value()) return *volume;
  }
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
  } else if (points.objectives == 3) {
    Contribute3(points, frontier, reference.data(), &contribution);
  } else {
    ContributeAny(points, frontier, reference.data(), &contribution);
  }
  return contribution;
}

}  // namespace forall
