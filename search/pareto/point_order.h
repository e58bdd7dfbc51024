// SPDX-License-Identifier: Apache-2.0
// The two steps that every Pareto kernel begins with: throw away what one good point dominates, and
// put the rest into lexicographic order. Points must have passed CheckPoints.
#ifndef FORALL_SEARCH_PARETO_POINT_ORDER_H_
#define FORALL_SEARCH_PARETO_POINT_ORDER_H_

#include <cstdint>
#include <vector>

#include "search/pareto/dominance.h"

namespace forall {

// Row numbers 0, 1, ... of all points.
std::vector<int32_t> AllRows(const PointsView& points);

// Rows that are not dominated by the point with the smallest sum of objectives, each scaled to its
// range; ascending. O(n k). Of n uniform points in 2-D about 2 sqrt(n) are left; of points that
// are all on the frontier, all are.
std::vector<int32_t> RowsNotDominatedByPivot(const PointsView& points);

// `rows` in ascending lexicographic order of their points; equal points keep ascending row numbers.
// No point of the result is dominated by a later one. O(n log n), and near O(n) when the first
// objective is spread evenly: rows are first dealt into buckets by it.
std::vector<int32_t> LexicographicOrder(const PointsView& points, const std::vector<int32_t>& rows);

// `rows` ascending in one objective; equal ones keep ascending row numbers. Costs as above.
std::vector<int32_t> OrderByObjective(const PointsView& points, const std::vector<int32_t>& rows,
                                      int objective);

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_POINT_ORDER_H_
