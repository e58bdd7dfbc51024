// SPDX-License-Identifier: Apache-2.0
// The default strategy: learn from what was measured what every choice is worth, search tens of
// thousands of candidates on that, and measure those that promise to add most to the hypervolume.
//
// The first proposals are spread over the cost range, unless what was measured before the job takes
// their place (known_subnets.h). After that, for every batch of proposals: a
// model per measured metric is fitted to the settled history (search/predictor/), an inner search
// finds the best predicted networks at every cost, and each proposal takes the candidate whose
// predicted objectives add most hypervolume to what is measured and to what is predicted of
// everything under way (guided_plan.h). There are no generations: whenever a worker is free, the
// best candidate left is its work. Comparisons: docs/adr/0007-guided-search.md.
#ifndef FORALL_SEARCH_SAMPLER_GUIDED_SAMPLER_H_
#define FORALL_SEARCH_SAMPLER_GUIDED_SAMPLER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "search/sampler/admissible_region.h"
#include "search/sampler/guided_plan.h"
#include "search/sampler/sampler.h"
#include "search/sampler/spread_initial.h"

namespace forall {

// Trials under way that may end late without a change of what is proposed, as long as they end in
// order (settled_history.h); twice the batch. More would cost what they teach: with twelve, as the
// strategies that learn less leave out, a search needs a third more evaluations for its first
// frontier.
inline constexpr int64_t kGuidedUnsettled = 4;

class GuidedSampler : public Sampler {
 public:
  // InvalidArgument: options out of range, no cost, no objectives, or a known metric without a
  // value.
  static absl::StatusOr<std::unique_ptr<Sampler>> Create(SamplerOptions options, SearchSpace space,
                                                         uint64_t seed);

  std::vector<Proposal> Propose(const ProposeRequest& request) const override;

 private:
  GuidedSampler(SamplerOptions options, SearchSpace space, uint64_t seed);
  // nullptr when the space cannot be searched so (GuidedSpace::Create).
  std::shared_ptr<const GuidedPlan> PlanFor(const ProposeRequest& request, int64_t index) const;

  const SamplerOptions options_;
  const AdmissibleRegion region_;
  const SpreadInitial initial_;
  const uint64_t seed_;

  // The space, compiled when it is first wanted, and the last plan: memos, which nobody can tell
  // from computing them again.
  mutable Mutex mutex_;
  mutable std::unique_ptr<const GuidedSpace> space_ ABSL_GUARDED_BY(mutex_);
  mutable uint64_t plan_fingerprint_ ABSL_GUARDED_BY(mutex_) = 0;
  mutable std::shared_ptr<const GuidedPlan> plan_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_GUIDED_SAMPLER_H_
