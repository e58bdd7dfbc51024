// SPDX-License-Identifier: Apache-2.0
// The knee: the member of a frontier to recommend when the user states no preference.
#ifndef FORALL_SEARCH_PARETO_KNEE_H_
#define FORALL_SEARCH_PARETO_KNEE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "search/pareto/dominance.h"

namespace forall {

// Row of the knee among the non-dominated points.
//
// Each objective is scaled so that the frontier spans [0, 1]. With two objectives the extremes then
// lie at (0, 1) and (1, 0), and the knee is the point farthest from the line between them on the
// side of the ideal point (0, 0) (Das, "On characterizing the knee of the Pareto curve based on
// normal-boundary intersection", 1999). That distance is (1 - sum of the scaled objectives) /
// sqrt(2), which is also the rule for more objectives: the point farthest from the hyperplane
// "scaled objectives sum to 1". Where no point lies beyond it (a concave frontier), the knee is the
// point whose worst scaled objective is best. Ties: the better worst objective, then the smaller
// row. An objective in which all members agree is left out.
//
// Errors: as CheckPoints; InvalidArgument for no points or an infinite value.
absl::StatusOr<int32_t> KneeRow(const PointsView& points);

// Whether KneeRow is a knee: false where no point lies beyond the line, as with fewer than three
// non-dominated points. Errors: as KneeRow.
absl::StatusOr<bool> HasKnee(const PointsView& points);

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_KNEE_H_
