// SPDX-License-Identifier: Apache-2.0
// What a hypervolume has to look at: the points below the reference that the one with the largest
// box does not dominate. Of uniform points few are left.
#ifndef FORALL_SEARCH_PARETO_LARGEST_BOX_H_
#define FORALL_SEARCH_PARETO_LARGEST_BOX_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "search/pareto/dominance.h"

namespace forall {

// The row with the largest volume between it and the reference, which must be finite; -1 if none is
// strictly better than it in every objective. The values must not be NaN or minus infinity. Pure.
template <int kObjectives>
int64_t LargestBoxRow(const PointsView& points, const double* reference) {
  int64_t best = -1;
  double largest = 0;
  for (int64_t row = 0; row < points.size(); ++row) {
    const double* p = points[row];
    double box = 1;
    for (int c = 0; c < kObjectives; ++c) {
      const double below = p[c] < reference[c] ? p[c] : reference[c];
      box *= reference[c] - below;
    }
    if (box <= largest) continue;
    largest = box;
    best = row;
  }
  return best;
}

// Rows strictly better than the reference that the one with the largest box does not dominate,
// itself among them, ascending; of its equals only that one. Demands as above. O(n). Pure.
template <int kObjectives>
std::vector<int32_t> RowsBesideLargestBox(const PointsView& points, const double* reference) {
  const int64_t pivot = LargestBoxRow<kObjectives>(points, reference);
  if (pivot < 0) return {};
  std::array<double, kObjectives> best;
  std::array<double, kObjectives> limit;
  for (int c = 0; c < kObjectives; ++c) {
    best[c] = points[pivot][c];
    limit[c] = reference[c];
  }
  std::vector<int32_t> rows(static_cast<size_t>(points.size()));
  size_t kept = 0;
  for (int64_t row = 0; row < points.size(); ++row) {
    const double* p = points[row];
    bool inside = true;
    bool covered = true;
    for (int c = 0; c < kObjectives; ++c) {
      inside &= p[c] < limit[c];
      covered &= p[c] >= best[c];
    }
    rows[kept] = static_cast<int32_t>(row);
    kept += ((inside & !covered) | (row == pivot)) ? 1 : 0;
  }
  rows.resize(kept);
  return rows;
}

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_LARGEST_BOX_H_
