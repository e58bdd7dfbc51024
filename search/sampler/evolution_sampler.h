// SPDX-License-Identifier: Apache-2.0
// Regularised evolution with the operators and parameters of OFA's evolution finder, without
// generations.
#ifndef FORALL_SEARCH_SAMPLER_EVOLUTION_SAMPLER_H_
#define FORALL_SEARCH_SAMPLER_EVOLUTION_SAMPLER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "search/sampler/admissible_region.h"
#include "search/sampler/sampler.h"
#include "search/sampler/spread_initial.h"

namespace forall {

// How OFA's finder maps onto results that arrive one by one:
// - The first options.initial_samples proposals come from SpreadInitial.
// - The population is a window on what has settled (settled_history.h): the `population` trials
//   proposed last. Older ones have aged out (Real, Aggarwal, Huang, Le: "Regularized evolution for
//   image classifier architecture search", AAAI 2019). The non-dominated feasible trials of the
//   whole history never age: OFA's finder keeps its parents from one generation to the next, and a
//   frontier that was paid for must not be forgotten.
// - Parents are the best parent_ratio * population of these in the order of deb_rule.h, ranked
//   among the whole history: with one objective the best values, with several the frontier first,
//   thinned by crowding.
// - Each proposal is, with probability mutation_ratio, a mutant of a random parent, otherwise a
//   uniform crossover of two. A converged population crosses into networks that are known: from the
//   second attempt on, a crossed child is mutated too.
// - Nobody waits: pending trials are missing from the population, and forbid repetition. While no
//   trial is usable, draws are uniform.
// A proposal costs O(n log n) in the length of the history (two objectives). Immutable.
class EvolutionSampler : public Sampler {
 public:
  // InvalidArgument naming the option: no cost function, initial_samples < 0, population < 1, or a
  // ratio or probability outside [0, 1].
  static absl::StatusOr<std::unique_ptr<Sampler>> Create(SamplerOptions options, SearchSpace space,
                                                         uint64_t seed);

  // SpreadInitial refers to the region beside it.
  EvolutionSampler(const EvolutionSampler&) = delete;
  EvolutionSampler& operator=(const EvolutionSampler&) = delete;

  std::vector<Proposal> Propose(const ProposeRequest& request) const override;

 private:
  EvolutionSampler(SamplerOptions options, SearchSpace space, uint64_t seed);
  std::vector<const Architecture*> Parents(absl::Span<const ScoredTrial> history) const;
  Architecture Child(const std::vector<const Architecture*>& parents, int attempt,
                     Random* random) const;

  EvolutionOptions options_;
  AdmissibleRegion region_;
  SpreadInitial initial_;
  uint64_t seed_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_EVOLUTION_SAMPLER_H_
