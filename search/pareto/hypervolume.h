// SPDX-License-Identifier: Apache-2.0
// Hypervolume: the measure of the region that a set of points dominates below a reference point
// (all objectives minimised). Exact up to rounding, for any number of objectives.
#ifndef FORALL_SEARCH_PARETO_HYPERVOLUME_H_
#define FORALL_SEARCH_PARETO_HYPERVOLUME_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "search/pareto/dominance.h"

namespace forall {

// Points that are not strictly better than the reference in every objective add nothing. Two and
// three objectives: sort and sweep, O(n log n), for three near O(n) where values are spread out
// (hypervolume_3d.h). Four: what each point, in the order of one objective, adds to the
// three-dimensional volume of those before it, about O(n^2) with two comparisons for most pairs.
// More: the same recursion on ever fewer objectives (WFG; While, Bradstreet, Barone: "A fast way of
// calculating exact hypervolumes", IEEE TEC 2012), exponential in the number of objectives at
// worst.
// Errors: as CheckPoints; InvalidArgument for a reference of another length or not finite, and for
// a value of minus infinity. Pure.
absl::StatusOr<double> Hypervolume(const PointsView& points, absl::Span<const double> reference);

// For each member of the frontier the hypervolume that the frontier would lose without it; 0 for a
// dominated point (which is left out altogether), for a duplicated one, and for one that is not
// strictly better than the reference. O(n log n) for two and three objectives, otherwise one
// hypervolume, of the members as limited by the one in question, for each member. Errors as
// Hypervolume. Pure.
absl::StatusOr<std::vector<double>> HypervolumeContributions(const PointsView& points,
                                                             absl::Span<const double> reference);

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_HYPERVOLUME_H_
