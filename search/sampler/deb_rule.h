// SPDX-License-Identifier: Apache-2.0
// The order of trials under constraints (Deb et al., NSGA-II, 2002, section VI): a feasible trial
// comes before an infeasible one; of two infeasible ones the smaller violation; of two feasible
// ones the better non-dominated rank, then the larger crowding distance.
#ifndef FORALL_SEARCH_SAMPLER_DEB_RULE_H_
#define FORALL_SEARCH_SAMPLER_DEB_RULE_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "search/sampler/sampler.h"

namespace forall {

struct TrialStanding {
  // 0 is best. Infeasible trials stand behind all feasible ones, equal violations share a rank.
  int32_t rank = 0;
  double crowding = 0;  // within the rank; 0 for infeasible trials
  bool feasible = false;
};

// Strictly better by rank, then by crowding.
inline bool StandsBefore(const TrialStanding& a, const TrialStanding& b) {
  return a.rank != b.rank ? a.rank < b.rank : a.crowding > b.crowding;
}

struct TrialOrder {
  std::vector<TrialStanding> standing;  // one for each trial
  // Indices of usable trials, best first; ties go to the earlier trial.
  std::vector<int32_t> best_first;
};

// A trial is usable unless its violation is infinite or NaN, or it is feasible but its objectives
// hold a NaN or are not as many as those of the first feasible trial.
// O(n log n) for two objectives (search/pareto/nondominated_sort.h). Pure.
TrialOrder OrderTrials(absl::Span<const ScoredTrial> trials);

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_DEB_RULE_H_
