// SPDX-License-Identifier: Apache-2.0
// The phase of a frontier search that leaves the basins in which crossing and mutating elites gets
// stuck. Inside of frontier_search.cc.
#ifndef FORALL_SEARCH_INNER_ANNEALING_H_
#define FORALL_SEARCH_INNER_ANNEALING_H_

#include <cstddef>

#include "search/inner/search_state.h"

namespace forall {

// Chains of simulated annealing (Kirkpatrick, Gelatt and Vecchi, Science 220, 1983), each below its
// target's limits, all scored in one batch per step, until `until` candidates have been scored in
// all. A step is accepted by the additive model first and by its true score afterwards, so that few
// of the scored ones are rejected (Christen and Fox, "MCMC using an approximation", 2005).
void Anneal(size_t until, SearchState* state);

}  // namespace forall

#endif  // FORALL_SEARCH_INNER_ANNEALING_H_
