// SPDX-License-Identifier: Apache-2.0
// Which points of a batch are not dominated. For points that arrive one by one see frontier.h.
#ifndef FORALL_SEARCH_PARETO_PARETO_FILTER_H_
#define FORALL_SEARCH_PARETO_PARETO_FILTER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "search/pareto/dominance.h"

namespace forall {

enum class Duplicates {
  kKeepFirst,  // of equal non-dominated points only the one with the smallest row number
  kKeepAll,
};

// Row numbers of the non-dominated points, ascending. One pass drops what the best compromise
// dominates; the rest is sorted and swept: O(n log n) for up to three objectives, O(n f) with a
// frontier of f points beyond. Pure; errors as CheckPoints. No points give an empty frontier.
absl::StatusOr<std::vector<int32_t>> ParetoFilter(const PointsView& points,
                                                  Duplicates duplicates = Duplicates::kKeepFirst);

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_PARETO_FILTER_H_
