// SPDX-License-Identifier: Apache-2.0
// Results arrive in whatever order the machines please. A strategy that looks at all that has
// arrived proposes something else in every run, and then a second run can reuse little of what the
// first one measured. So a strategy looks back past a fixed number of trials: which results it sees
// follows from the number of its proposal alone, as long as no trial is overtaken by that many.
#ifndef FORALL_SEARCH_SAMPLER_SETTLED_HISTORY_H_
#define FORALL_SEARCH_SAMPLER_SETTLED_HISTORY_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "search/sampler/sampler.h"

namespace forall {

// How many of the latest proposals a strategy leaves out. More than one worker has under way at
// once (four), with room for one that is measured again. It costs 0.7 % of the hypervolume that
// "evolution" finds on the world of sampler_convergence_test.cc in 200 trials with eight under way,
// and 0.1 % of that of "nsga2" (40 seeds, against leaving out none). With more than this in flight
// nobody waits: what has not finished is missing, and proposals depend on the order of results.
inline constexpr int64_t kUnsettledProposals = 12;

// The finished trials that proposal number `index` of the job (from 0; the trial with id index + 1)
// may learn from, in the order of their ids: those with an id of at most index + 1 - `unsettled`.
// Pure.
std::vector<ScoredTrial> SettledHistory(absl::Span<const ScoredTrial> history, int64_t index,
                                        int64_t unsettled = kUnsettledProposals);

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_SETTLED_HISTORY_H_
