// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/evolution_sampler.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/memory/memory.h"
#include "base/status_macros.h"
#include "search/sampler/deb_rule.h"
#include "search/sampler/fresh_proposals.h"
#include "search/sampler/option_checks.h"
#include "search/sampler/settled_history.h"

namespace forall {

absl::StatusOr<std::unique_ptr<Sampler>> EvolutionSampler::Create(SamplerOptions options,
                                                                  SearchSpace space,
                                                                  uint64_t seed) {
  FORALL_RETURN_IF_ERROR(CheckInitialOptions(options, "evolution"));
  const EvolutionOptions& evolution = options.evolution;
  FORALL_RETURN_IF_ERROR(CheckPositive(evolution.population, "evolution.population"));
  FORALL_RETURN_IF_ERROR(CheckFraction(evolution.parent_ratio, "evolution.parent_ratio"));
  FORALL_RETURN_IF_ERROR(CheckFraction(evolution.mutation_ratio, "evolution.mutation_ratio"));
  FORALL_RETURN_IF_ERROR(
      CheckFraction(evolution.mutation_probability, "evolution.mutation_probability"));
  return absl::WrapUnique<Sampler>(
      new EvolutionSampler(std::move(options), std::move(space), seed));
}

EvolutionSampler::EvolutionSampler(SamplerOptions options, SearchSpace space, uint64_t seed)
    : options_(options.evolution),
      region_(std::move(space), std::move(options.admissible), seed, options.anchors),
      initial_(region_, std::move(options.cost), options.initial_samples),
      seed_(seed) {}

std::vector<const Architecture*> EvolutionSampler::Parents(
    absl::Span<const ScoredTrial> history) const {
  const TrialOrder order = OrderTrials(history);
  const size_t oldest =
      history.size() - std::min(history.size(), static_cast<size_t>(options_.population));
  const size_t wanted =
      static_cast<size_t>(std::max(1.0, std::round(options_.parent_ratio * options_.population)));
  std::vector<const Architecture*> parents;
  for (const int32_t trial : order.best_first) {
    if (parents.size() == wanted) break;
    const TrialStanding& standing = order.standing[trial];
    const bool on_frontier = standing.feasible && standing.rank == 0;
    if (!on_frontier && static_cast<size_t>(trial) < oldest) continue;
    const Architecture& architecture = history[trial].architecture;
    if (region_.space().Validate(architecture).ok()) parents.push_back(&architecture);
  }
  return parents;
}

Architecture EvolutionSampler::Child(const std::vector<const Architecture*>& parents, int attempt,
                                     Random* random) const {
  const SearchSpace& space = region_.space();
  if (parents.empty()) return space.Sample(random);
  const Architecture& parent = *parents[random->Uniform(parents.size())];
  if (random->Bernoulli(options_.mutation_ratio)) {
    return space.Mutate(parent, options_.mutation_probability, random);
  }
  const Architecture& other = *parents[random->Uniform(parents.size())];
  Architecture child = space.Crossover(parent, other, random);
  return attempt == 0 ? child : space.Mutate(child, options_.mutation_probability, random);
}

std::vector<Proposal> EvolutionSampler::Propose(const ProposeRequest& request) const {
  std::vector<ScoredTrial> history;
  std::vector<const Architecture*> parents;  // refer to history
  return FreshProposals(region_, request, seed_, Patience(),
                        [&](int64_t index, int attempt, Random* random) {
                          if (index < initial_.samples()) {
                            return initial_.Draw(index, attempt, random);
                          }
                          if (attempt == 0) {
                            history = SettledHistory(request.history, index);
                            parents = Parents(history);
                          }
                          return Child(parents, attempt, random);
                        });
}

}  // namespace forall
