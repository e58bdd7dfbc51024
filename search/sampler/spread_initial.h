// SPDX-License-Identifier: Apache-2.0
// The first samples of a job, spread over the whole range of an exact cost with both ends included:
// uniform draws crowd around the middle of the range, and what a search knows of the ends early
// decides most of its early gain.
#ifndef FORALL_SEARCH_SAMPLER_SPREAD_INITIAL_H_
#define FORALL_SEARCH_SAMPLER_SPREAD_INITIAL_H_

#include <cstdint>
#include <functional>

#include "base/random.h"
#include "search/sampler/admissible_region.h"
#include "space/search_space.h"

namespace forall {

// Sample 0 is the smallest network of the region, sample 1 the largest. Sample i >= 2 aims at a
// point of log(cost) between their costs: the points follow the van der Corput sequence (1/2, 1/4,
// 3/4, 1/8, ...), so that any number of samples is spread evenly, each shifted at random within the
// gap that is left at `samples` points. It is the nearest in log(cost) of 24 draws whose dimensions
// are tilted towards small or large options by a common exponent, which follows the outcome of each
// draw (stochastic approximation).
// Immutable; thread-safe as far as `cost` is.
class SpreadInitial {
 public:
  // `cost` is positive; `region` is not owned and must outlive this.
  SpreadInitial(const AdmissibleRegion& region, std::function<double(const Architecture&)> cost,
                int samples);

  int samples() const { return samples_; }

  // An idea for sample `index`, 0 <= index < samples(); repeated attempts at an end give networks
  // near it. Valid and canonical; new or admissible it need not be (fresh_proposals.h).
  Architecture Draw(int64_t index, int attempt, Random* random) const;

 private:
  double LogCost(const Architecture& architecture) const;
  Architecture DrawNear(double log_cost, Random* random) const;

  const AdmissibleRegion& region_;
  std::function<double(const Architecture&)> cost_;
  int samples_;
  double low_ = 0;
  double high_ = 0;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_SPREAD_INITIAL_H_
