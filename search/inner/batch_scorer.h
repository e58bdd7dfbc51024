// SPDX-License-Identifier: Apache-2.0
// What the inner search maximises: a predicted accuracy, or whatever a sampler makes of a
// prediction and its uncertainty.
#ifndef FORALL_SEARCH_INNER_BATCH_SCORER_H_
#define FORALL_SEARCH_INNER_BATCH_SCORER_H_

#include "absl/types/span.h"
#include "search/inner/candidates.h"

namespace forall {

// Thread-safe: const without hidden state.
class BatchScorer {
 public:
  virtual ~BatchScorer() = default;

  // `scores` has one place per candidate; higher is better, NaN is worse than anything. A
  // candidate's score depends on its row alone, never on its neighbours in the batch.
  virtual void Score(const Candidates& candidates, absl::Span<float> scores) const = 0;
};

}  // namespace forall

#endif  // FORALL_SEARCH_INNER_BATCH_SCORER_H_
