// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/nondominated_sort.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/status_macros.h"
#include "search/pareto/point_blocks.h"
#include "search/pareto/point_order.h"
#include "search/pareto/staircase.h"

namespace forall {
namespace {

// A front takes points in lexicographic order and tells whether it holds one that dominates a later
// (different) point; the first objective needs no comparison.
class Front2 {
 public:
  explicit Front2(int /*objectives*/) {}
  // The newest member has the smallest second objective.
  bool DominatesLater(const double* p) const { return last_ <= p[1]; }
  void Add(const double* p) { last_ = p[1]; }

 private:
  double last_ = 0;
};

class Front3 {
 public:
  explicit Front3(int /*objectives*/) {}
  bool DominatesLater(const double* p) const { return staircase_.Covers(p[1], p[2]); }
  void Add(const double* p) { staircase_.Insert(p[1], p[2]); }

 private:
  Staircase staircase_;
};

class FrontAny {
 public:
  explicit FrontAny(int objectives) : points_(objectives - 1) {}
  bool DominatesLater(const double* p) const { return points_.Covers(p + 1); }
  void Add(const double* p) { points_.Add(p + 1); }

 private:
  PointBlocks points_;
};

template <typename Front>
std::vector<int32_t> Sort(const PointsView& points) {
  std::vector<int32_t> rank(points.size());
  std::vector<Front> fronts;
  int32_t previous = -1;
  for (const int32_t row : LexicographicOrder(points, AllRows(points))) {
    const double* p = points[row];
    if (previous >= 0 && SamePoint(points[previous], p, points.objectives)) {
      rank[row] = rank[previous];
      continue;
    }
    previous = row;
    // What a front dominates, every earlier front dominates too.
    const auto front = std::partition_point(fronts.begin(), fronts.end(),
                                            [p](const Front& f) { return f.DominatesLater(p); });
    rank[row] = static_cast<int32_t>(front - fronts.begin());
    if (front == fronts.end()) {
      fronts.emplace_back(points.objectives);
      fronts.back().Add(p);
    } else {
      front->Add(p);
    }
  }
  return rank;
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> NonDominatedSort(const PointsView& points) {
  FORALL_RETURN_IF_ERROR(CheckPoints(points));
  switch (points.objectives) {
    case 2:
      return Sort<Front2>(points);
    case 3:
      return Sort<Front3>(points);
    default:
      return Sort<FrontAny>(points);
  }
}

std::vector<double> CrowdingDistance(const PointsView& points, absl::Span<const int32_t> front) {
  std::vector<double> distance(front.size(), 0.0);
  if (front.empty()) return distance;
  std::vector<int32_t> order(front.size());
  for (int c = 0; c < points.objectives; ++c) {
    const auto value = [&](int32_t i) { return points[front[i]][c]; };
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int32_t i, int32_t j) {
      return value(i) != value(j) ? value(i) < value(j) : front[i] < front[j];
    });
    const double range = value(order.back()) - value(order.front());
    distance[order.front()] = std::numeric_limits<double>::infinity();
    distance[order.back()] = std::numeric_limits<double>::infinity();
    if (!(range > 0) || !std::isfinite(range)) continue;
    for (size_t i = 1; i + 1 < order.size(); ++i) {
      distance[order[i]] += (value(order[i + 1]) - value(order[i - 1])) / range;
    }
  }
  return distance;
}

}  // namespace forall
