// SPDX-License-Identifier: Apache-2.0
// The hypervolume that so many random evaluations may expect: what a search is compared with.
#ifndef FORALL_SEARCH_PARETO_EXPECTED_HYPERVOLUME_H_
#define FORALL_SEARCH_PARETO_EXPECTED_HYPERVOLUME_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "search/pareto/dominance.h"

namespace forall {

struct HypervolumeBand {
  int64_t evaluations = 0;
  // Over orders of the points: mean, and the limits of the middle 80 %.
  double mean = 0;
  double low = 0;
  double high = 0;
};

// After the first n of `points` in a random order, for every n of `counts` (ascending, from 1 to
// the number of points): over `orders` orders drawn from `seed`. Drawn without replacement, the
// mean is that of n random evaluations, and the band narrows to nothing at the last point, where
// all orders have seen all. InvalidArgument as CheckPoints and HypervolumeGain::Create, or for
// counts and orders out of range. `orders` times the number of points calls of
// HypervolumeGain::Gain.
absl::StatusOr<std::vector<HypervolumeBand>> ExpectedHypervolume(
    const PointsView& points, const std::vector<double>& reference,
    absl::Span<const int64_t> counts, int orders, uint64_t seed);

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_EXPECTED_HYPERVOLUME_H_
