// SPDX-License-Identifier: Apache-2.0
// What every sampler shares: turning a strategy's draws into proposals that are new and admissible,
// with the purity that sampler.h promises.
#ifndef FORALL_SEARCH_SAMPLER_FRESH_PROPOSALS_H_
#define FORALL_SEARCH_SAMPLER_FRESH_PROPOSALS_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "base/random.h"
#include "search/sampler/admissible_region.h"
#include "search/sampler/sampler.h"

namespace forall {

// A strategy's idea for proposal number `index` of the job. `attempt` counts 0, 1, ... while its
// ideas are already known or inadmissible. The architecture must be valid.
using Draw = std::function<Architecture(int64_t index, int attempt, Random* random)>;

// How many ideas are asked of a strategy for one proposal. Those that are inadmissible are dropped
// at first, so that the strategy's distribution is kept where that is cheap; from
// `repair_after` on each is walked back into the admissible region instead.
struct Patience {
  int repair_after = 16;
  int attempts = 64;
};

// Up to request.slots proposals, without predictions. Where the strategy has no new idea left,
// uniform draws and mutants of the region's ends are tried, and a space of at most 20,000 networks
// is searched to its end.
std::vector<Proposal> FreshProposals(const AdmissibleRegion& region, const ProposeRequest& request,
                                     uint64_t seed, const Patience& patience, const Draw& draw);

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_FRESH_PROPOSALS_H_
