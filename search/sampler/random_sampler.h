// SPDX-License-Identifier: Apache-2.0
// Uniform draws, without repetition: every dimension independently, so that a network's chance does
// not depend on anything measured. The baseline that every other strategy must beat.
#ifndef FORALL_SEARCH_SAMPLER_RANDOM_SAMPLER_H_
#define FORALL_SEARCH_SAMPLER_RANDOM_SAMPLER_H_

#include <cstdint>
#include <vector>

#include "search/sampler/admissible_region.h"
#include "search/sampler/sampler.h"

namespace forall {

// Uses only `admissible` of the options. Inadmissible draws are dropped 256 times before one is
// repaired, so the draws are uniform over the admissible networks unless these are very rare.
class RandomSampler : public Sampler {
 public:
  RandomSampler(SamplerOptions options, SearchSpace space, uint64_t seed);
  std::vector<Proposal> Propose(const ProposeRequest& request) const override;

 private:
  AdmissibleRegion region_;
  uint64_t seed_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_RANDOM_SAMPLER_H_
