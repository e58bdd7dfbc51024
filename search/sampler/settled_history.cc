// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/settled_history.h"

#include <algorithm>
#include <iterator>

namespace forall {

std::vector<ScoredTrial> SettledHistory(absl::Span<const ScoredTrial> history, int64_t index,
                                        int64_t unsettled) {
  const int64_t last = index + 1 - unsettled;
  std::vector<ScoredTrial> settled;
  settled.reserve(history.size());
  std::copy_if(history.begin(), history.end(), std::back_inserter(settled),
               [last](const ScoredTrial& trial) { return trial.id <= last; });
  std::stable_sort(settled.begin(), settled.end(),
                   [](const ScoredTrial& a, const ScoredTrial& b) { return a.id < b.id; });
  return settled;
}

}  // namespace forall
