// SPDX-License-Identifier: Apache-2.0
// Non-dominated sorting and crowding distance: how NSGA-II orders a population (Deb, Pratap,
// Agarwal, Meyarivan: "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE TEC
// 2002).
#ifndef FORALL_SEARCH_PARETO_NONDOMINATED_SORT_H_
#define FORALL_SEARCH_PARETO_NONDOMINATED_SORT_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "search/pareto/dominance.h"

namespace forall {

// For each point its rank: 0 on the frontier, 1 on the frontier of what is left without rank 0, and
// so on; equal points share a rank. Efficient non-dominated sort with binary search over the fronts
// (Zhang, Tian, Cheng, Jin, IEEE TEC 2015); a front answers "is this dominated?" in O(1) for two
// objectives and O(log n) for three, so that these cost O(n log n) and O(n log^2 n). From four on a
// front is searched from end to end: O(n^2 k) at worst. Pure; errors as CheckPoints.
absl::StatusOr<std::vector<int32_t>> NonDominatedSort(const PointsView& points);

// For each of `front` (rows of points of one rank) the sum over the objectives of the distance
// between its two neighbours, relative to the front's range; infinity for the two ends of each
// objective. An objective without a finite positive range adds nothing but its ends. Of equal
// values the smaller row comes first, so the answer is a pure function of the arguments. Rows must
// exist and points must have passed CheckPoints.
std::vector<double> CrowdingDistance(const PointsView& points, absl::Span<const int32_t> front);

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_NONDOMINATED_SORT_H_
