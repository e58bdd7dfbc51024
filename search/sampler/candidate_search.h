// SPDX-License-Identifier: Apache-2.0
// The best predicted networks at every cost, a few of each: what "guided" chooses from. Unlike
// search/inner/frontier_search.h, which wants the one best network at a cost from a dear predictor,
// this keeps many and asks a model that costs a microsecond.
#ifndef FORALL_SEARCH_SAMPLER_CANDIDATE_SEARCH_H_
#define FORALL_SEARCH_SAMPLER_CANDIDATE_SEARCH_H_

#include <cstdint>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "search/inner/batch_scorer.h"
#include "search/inner/candidates.h"
#include "search/inner/factored_cost.h"

namespace forall {

// A cost along which candidates are kept apart, or that only limits them.
struct CandidateCost {
  const FactoredCost* cost = nullptr;  // not owned
  double high = std::numeric_limits<double>::infinity();
  bool spread = true;
};

// Evolution with an archive of elites in cells along the costs that are spread (Mouret and Clune,
// "Illuminating search spaces by mapping elites", 2015): parents are drawn from all over it, mates
// from cells near by, children fall where their costs are. Starts from `start` and from draws of
// all sizes. About `budget` distinct candidates are scored. Those above a cost's `high` are left
// out. Pure: the same for the same arguments and seed.
Candidates SearchCandidates(const CandidateSpace& space, absl::Span<const CandidateCost> costs,
                            const BatchScorer& scorer, const Candidates& start, int64_t budget,
                            uint64_t seed);

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_CANDIDATE_SEARCH_H_
