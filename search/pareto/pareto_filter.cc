// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/pareto_filter.h"

#include <algorithm>
#include <limits>

#include "base/status_macros.h"
#include "search/pareto/point_blocks.h"
#include "search/pareto/point_order.h"
#include "search/pareto/staircase.h"

namespace forall {
namespace {

// The tests below answer, for points that come in lexicographic order and never twice the same:
// is this one dominated by an earlier one? The first objective is never worse in an earlier one, so
// that only the others are compared.
class Sweep2 {
 public:
  bool Accept(const double* p) {
    if (any_ && best_ <= p[1]) return false;
    any_ = true;
    best_ = p[1];
    return true;
  }

 private:
  bool any_ = false;
  double best_ = 0;
};

class Sweep3 {
 public:
  bool Accept(const double* p) {
    if (staircase_.Covers(p[1], p[2])) return false;
    staircase_.Insert(p[1], p[2]);
    return true;
  }

 private:
  Staircase staircase_;
};

class SweepAny {
 public:
  explicit SweepAny(int objectives) : accepted_(objectives - 1) {}

  bool Accept(const double* p) {
    if (accepted_.Covers(p + 1)) return false;
    accepted_.Add(p + 1);
    return true;
  }

 private:
  PointBlocks accepted_;
};

template <typename Sweep>
std::vector<int32_t> Filter(const PointsView& points, Duplicates duplicates, Sweep sweep) {
  const std::vector<int32_t> order = LexicographicOrder(points, RowsNotDominatedByPivot(points));
  std::vector<char> keep(points.size(), 0);
  const double* previous = nullptr;
  bool accepted = false;
  for (const int32_t row : order) {
    const double* p = points[row];
    const bool repeats = previous != nullptr && SamePoint(previous, p, points.objectives);
    if (!repeats) accepted = sweep.Accept(p);
    if (accepted && (!repeats || duplicates == Duplicates::kKeepAll)) keep[row] = 1;
    previous = p;
  }
  std::vector<int32_t> kept;
  for (size_t row = 0; row < keep.size(); ++row) {
    if (keep[row] != 0) kept.push_back(static_cast<int32_t>(row));
  }
  return kept;
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> ParetoFilter(const PointsView& points, Duplicates duplicates) {
  FORALL_RETURN_IF_ERROR(CheckPoints(points));
  switch (points.objectives) {
    case 2:
      return Filter(points, duplicates, Sweep2());
    case 3:
      return Filter(points, duplicates, Sweep3());
    default:
      return Filter(points, duplicates, SweepAny(points.objectives));
  }
}

}  // namespace forall
