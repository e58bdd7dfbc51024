// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/sampler_factory.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "search/sampler/evolution_sampler.h"
#include "search/sampler/guided_sampler.h"
#include "search/sampler/nsga2_sampler.h"
#include "search/sampler/random_sampler.h"

namespace forall {
namespace {

absl::StatusOr<std::unique_ptr<Sampler>> CreateRandom(SamplerOptions options, SearchSpace space,
                                                      uint64_t seed) {
  return std::make_unique<RandomSampler>(std::move(options), std::move(space), seed);
}

struct Entry {
  const char* name;
  absl::StatusOr<std::unique_ptr<Sampler>> (*create)(SamplerOptions, SearchSpace, uint64_t);
};

constexpr Entry kSamplers[] = {
    {"guided", GuidedSampler::Create},
    {"random", CreateRandom},
    {"evolution", EvolutionSampler::Create},
    {"nsga2", Nsga2Sampler::Create},
};

}  // namespace

std::vector<std::string> SamplerNames() {
  std::vector<std::string> names;
  for (const Entry& entry : kSamplers) names.emplace_back(entry.name);
  return names;
}

absl::StatusOr<std::unique_ptr<Sampler>> CreateSampler(absl::string_view name,
                                                       SamplerOptions options, SearchSpace space,
                                                       uint64_t seed) {
  for (const Entry& entry : kSamplers) {
    if (name == entry.name) return entry.create(std::move(options), std::move(space), seed);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "there is no sampler \"", name, "\"; choose one of ", absl::StrJoin(SamplerNames(), ", ")));
}

}  // namespace forall
