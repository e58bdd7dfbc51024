// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/nsga2_sampler.h"

#include <utility>

#include "absl/memory/memory.h"
#include "base/status_macros.h"
#include "search/sampler/fresh_proposals.h"
#include "search/sampler/option_checks.h"
#include "search/sampler/settled_history.h"

namespace forall {

absl::StatusOr<std::unique_ptr<Sampler>> Nsga2Sampler::Create(SamplerOptions options,
                                                              SearchSpace space, uint64_t seed) {
  FORALL_RETURN_IF_ERROR(CheckInitialOptions(options, "nsga2"));
  Nsga2Options& nsga2 = options.nsga2;
  FORALL_RETURN_IF_ERROR(CheckPositive(nsga2.population, "nsga2.population"));
  FORALL_RETURN_IF_ERROR(CheckFraction(nsga2.crossover_probability, "nsga2.crossover_probability"));
  FORALL_RETURN_IF_ERROR(CheckFraction(nsga2.mutation_probability, "nsga2.mutation_probability"));
  if (nsga2.mutation_probability == 0 && !space.dimensions().empty()) {
    nsga2.mutation_probability = 1.0 / static_cast<double>(space.dimensions().size());
  }
  return absl::WrapUnique<Sampler>(new Nsga2Sampler(std::move(options), std::move(space), seed));
}

Nsga2Sampler::Nsga2Sampler(SamplerOptions options, SearchSpace space, uint64_t seed)
    : options_(options.nsga2),
      region_(std::move(space), std::move(options.admissible), seed, options.anchors),
      initial_(region_, std::move(options.cost), options.initial_samples),
      seed_(seed) {}

std::vector<Nsga2Sampler::Individual> Nsga2Sampler::Population(
    absl::Span<const ScoredTrial> history) const {
  const TrialOrder order = OrderTrials(history);
  std::vector<Individual> population;
  for (const int32_t trial : order.best_first) {
    if (population.size() == static_cast<size_t>(options_.population)) break;
    const Architecture& architecture = history[trial].architecture;
    if (!region_.space().Validate(architecture).ok()) continue;
    population.push_back({&architecture, order.standing[trial]});
  }
  return population;
}

Architecture Nsga2Sampler::Child(const std::vector<Individual>& population, Random* random) const {
  const SearchSpace& space = region_.space();
  if (population.empty()) return space.Sample(random);
  const auto tournament = [&]() -> const Architecture& {
    const Individual& a = population[random->Uniform(population.size())];
    const Individual& b = population[random->Uniform(population.size())];
    return StandsBefore(b.standing, a.standing) ? *b.architecture : *a.architecture;
  };
  const Architecture& first = tournament();
  const Architecture& second = tournament();
  const Architecture child = random->Bernoulli(options_.crossover_probability)
                                 ? space.Crossover(first, second, random)
                                 : first;
  return space.Mutate(child, options_.mutation_probability, random);
}

std::vector<Proposal> Nsga2Sampler::Propose(const ProposeRequest& request) const {
  std::vector<ScoredTrial> history;
  std::vector<Individual> population;  // refers to history
  return FreshProposals(region_, request, seed_, Patience(),
                        [&](int64_t index, int attempt, Random* random) {
                          if (index < initial_.samples()) {
                            return initial_.Draw(index, attempt, random);
                          }
                          if (attempt == 0) {
                            history = SettledHistory(request.history, index);
                            population = Population(history);
                          }
                          return Child(population, random);
                        });
}

}  // namespace forall
