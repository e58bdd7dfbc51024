// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/random_sampler.h"

#include <utility>

#include "search/sampler/fresh_proposals.h"

namespace forall {

RandomSampler::RandomSampler(SamplerOptions options, SearchSpace space, uint64_t seed)
    : region_(std::move(space), std::move(options.admissible), seed, options.anchors),
      seed_(seed) {}

std::vector<Proposal> RandomSampler::Propose(const ProposeRequest& request) const {
  const Patience patience{.repair_after = 256, .attempts = 320};
  return FreshProposals(region_, request, seed_, patience,
                        [this](int64_t /*index*/, int /*attempt*/, Random* random) {
                          return region_.space().Sample(random);
                        });
}

}  // namespace forall
