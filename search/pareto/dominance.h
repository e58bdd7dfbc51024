// SPDX-License-Identifier: Apache-2.0
// Pareto dominance, and how the rest of search/pareto sees its points.
//
// Orientation: every objective is minimised. A caller that maximises a metric negates it before.
// Values: infinities are ordinary values (the worst and the best there is); NaN has no order and is
// refused by CheckPoints, which every public function of this room calls first. -0.0 equals 0.0.
#ifndef FORALL_SEARCH_PARETO_DOMINANCE_H_
#define FORALL_SEARCH_PARETO_DOMINANCE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace forall {

// Borrowed points: `objectives` columns, row-major. Copy freely; the values must outlive it.
struct PointsView {
  absl::Span<const double> values;
  int objectives = 0;

  int64_t size() const {
    return objectives > 0 ? static_cast<int64_t>(values.size()) / objectives : 0;
  }
  const double* operator[](int64_t row) const { return values.data() + row * objectives; }
};

// InvalidArgument: fewer than one objective, a number of values that is no multiple of the number
// of objectives, more than 2^31 - 1 points, or a NaN (its row and column are named).
absl::Status CheckPoints(const PointsView& points);

// No objective of `a` is worse than that of `b`: `a` dominates `b` or equals it.
inline bool WeaklyDominates(const double* a, const double* b, int objectives) {
  for (int c = 0; c < objectives; ++c) {
    if (a[c] > b[c]) return false;
  }
  return true;
}

inline bool SamePoint(const double* a, const double* b, int objectives) {
  for (int c = 0; c < objectives; ++c) {
    if (a[c] != b[c]) return false;
  }
  return true;
}

// No objective of `a` is worse than that of `b`, and at least one is better.
inline bool Dominates(const double* a, const double* b, int objectives) {
  bool better = false;
  for (int c = 0; c < objectives; ++c) {
    if (a[c] > b[c]) return false;
    better |= a[c] < b[c];
  }
  return better;
}

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_DOMINANCE_H_
