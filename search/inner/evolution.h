// SPDX-License-Identifier: Apache-2.0
// The phase of a frontier search that crosses and mutates elites. Inside of frontier_search.cc.
#ifndef FORALL_SEARCH_INNER_EVOLUTION_H_
#define FORALL_SEARCH_INNER_EVOLUTION_H_

#include <cstddef>

#include "search/inner/search_state.h"

namespace forall {

// Turns of evolution until `until` candidates have been scored in all, or the budget is spent, or
// nothing new is found. Each turn looks at one target: it makes many children of the elites around,
// and those from which the additive model expects most over the bar of their cost are scored.
void Evolve(size_t until, SearchState* state);

}  // namespace forall

#endif  // FORALL_SEARCH_INNER_EVOLUTION_H_
