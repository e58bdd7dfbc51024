// SPDX-License-Identifier: Apache-2.0
// NSGA-II (Deb, Pratap, Agarwal, Meyarivan: "A fast and elitist multiobjective genetic algorithm:
// NSGA-II", IEEE TEC 2002) with its constrained dominance, without generations.
#ifndef FORALL_SEARCH_SAMPLER_NSGA2_SAMPLER_H_
#define FORALL_SEARCH_SAMPLER_NSGA2_SAMPLER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "search/sampler/admissible_region.h"
#include "search/sampler/deb_rule.h"
#include "search/sampler/sampler.h"
#include "search/sampler/spread_initial.h"

namespace forall {

// How the algorithm maps onto results that arrive one by one:
// - The first options.initial_samples proposals come from SpreadInitial.
// - The population is the environmental selection from everything that has settled
//   (settled_history.h): the best `population` trials in the order of deb_rule.h. In the paper the
//   same selection is made of parents and children once a generation.
// - Each proposal: two binary tournaments by the crowded comparison (rank, then crowding) choose
// the
//   parents; with crossover_probability a uniform crossover of them, otherwise a copy of the first;
//   then every active dimension is redrawn with mutation_probability, and if nothing has changed
//   one dimension is moved (SearchSpace::Mutate), since a copy would be no news.
// - Nobody waits: pending trials are missing from the population, and forbid repetition. While no
//   trial is usable, draws are uniform.
// A proposal costs O(n log n) in the length of the history (two objectives). Immutable.
class Nsga2Sampler : public Sampler {
 public:
  // InvalidArgument naming the option: no cost function, initial_samples < 0, population < 1, or a
  // probability outside [0, 1].
  static absl::StatusOr<std::unique_ptr<Sampler>> Create(SamplerOptions options, SearchSpace space,
                                                         uint64_t seed);

  // SpreadInitial refers to the region beside it.
  Nsga2Sampler(const Nsga2Sampler&) = delete;
  Nsga2Sampler& operator=(const Nsga2Sampler&) = delete;

  std::vector<Proposal> Propose(const ProposeRequest& request) const override;

 private:
  struct Individual {
    const Architecture* architecture;
    TrialStanding standing;
  };

  Nsga2Sampler(SamplerOptions options, SearchSpace space, uint64_t seed);
  std::vector<Individual> Population(absl::Span<const ScoredTrial> history) const;
  Architecture Child(const std::vector<Individual>& population, Random* random) const;

  Nsga2Options options_;
  AdmissibleRegion region_;
  SpreadInitial initial_;
  uint64_t seed_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_NSGA2_SAMPLER_H_
