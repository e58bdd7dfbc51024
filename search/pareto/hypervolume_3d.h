// SPDX-License-Identifier: Apache-2.0
// The hypervolume of three objectives whose values are spread out: buckets take the place of
// comparisons. Where they do not, it says so, and a sweep over ranks (hypervolume.cc) does better.
#ifndef FORALL_SEARCH_PARETO_HYPERVOLUME_3D_H_
#define FORALL_SEARCH_PARETO_HYPERVOLUME_3D_H_

#include <optional>

#include "search/pareto/dominance.h"

namespace forall {

// The volume below the finite `reference`, exact up to rounding, or nothing when the points are few
// or more than 65,000 are left to sweep, when values crowd together so that buckets would not tell
// them apart, and when one is or may be NaN or minus infinity. O(n) steps either way; each may
// write a table of a size about the square root of n. Pure.
std::optional<double> SpreadHypervolume3(const PointsView& points, const double* reference);

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_HYPERVOLUME_3D_H_
