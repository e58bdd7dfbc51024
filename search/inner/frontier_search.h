// SPDX-License-Identifier: Apache-2.0
// One evolutionary run that finds the best score at every cost at once: the whole frontier instead
// of one bound a run, as OFA's evolution finder has it (Cai et al., ICLR 2020).
//
// Elites are kept in cells along each cost (Mouret and Clune, "Illuminating search spaces by
// mapping elites", 2015), so that good networks of one cost are parents for its neighbours. Costs
// are additive, so that an additive model of the score can be maximised against them exactly
// (factored_sum.h): that gives the first elites, and it says which children are worth the scorer.
#ifndef FORALL_SEARCH_INNER_FRONTIER_SEARCH_H_
#define FORALL_SEARCH_INNER_FRONTIER_SEARCH_H_

#include <cstdint>
#include <limits>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "search/inner/batch_scorer.h"
#include "search/inner/candidates.h"
#include "search/inner/factored_cost.h"

namespace forall {

// A cost to be kept low, e.g. the latency on one device.
struct SearchedCost {
  const FactoredCost* cost = nullptr;  // not owned
  // Networks outside are no answers. The ends of the space where they are infinite.
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  // Upper bounds of which the best network below is wanted most: the search looks closer there. It
  // answers for all other costs as well.
  std::vector<double> marks = {};
};

struct FrontierSearchOptions {
  int64_t budget = 150000;  // candidates that are scored, at most
  uint64_t seed = 1;
  // Known good networks to start from, e.g. measured ones; those outside the space or the bounds
  // are passed over.
  std::vector<Architecture> initial = {};
};

struct FrontierPoint {
  std::vector<State> row;
  float score = 0;
  std::vector<double> costs;  // as asked for
};

struct FrontierSearchResult {
  // No point costs at most as much as another in all costs and scores at least as high; ascending
  // in the first cost.
  std::vector<FrontierPoint> frontier;
  int64_t scored = 0;  // distinct candidates
};

// At least one cost, each compiled for `space`. The same for the same arguments on every run of one
// build. InvalidArgument for no cost, a budget below 1, or low > high; OutOfRange, naming the cost
// and the nearest possible value, where a bound excludes every network (exactly, for each cost by
// itself); NotFound where no network within the bounds of all costs together was met, or none had a
// score.
absl::StatusOr<FrontierSearchResult> SearchFrontier(const CandidateSpace& space,
                                                    absl::Span<const SearchedCost> costs,
                                                    const BatchScorer& scorer,
                                                    const FrontierSearchOptions& options);

}  // namespace forall

#endif  // FORALL_SEARCH_INNER_FRONTIER_SEARCH_H_
