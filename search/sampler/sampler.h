// SPDX-License-Identifier: Apache-2.0
// A sampler decides which architectures to measure next. One file per strategy; sampler_factory.h
// lists them by name.
#ifndef FORALL_SEARCH_SAMPLER_SAMPLER_H_
#define FORALL_SEARCH_SAMPLER_SAMPLER_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/types/span.h"
#include "space/search_space.h"

namespace forall {

// A finished trial as a sampler sees it.
struct ScoredTrial {
  // The number of its proposal within the job, from 1.
  int64_t id = 0;
  Architecture architecture;
  // Oriented: lower is better. The same objectives in the same order for all trials of a job.
  std::vector<double> objectives;
  // 0 when all constraints hold, otherwise the sum of their violations, each relative to its bound.
  // Infinity for a trial that failed; its objectives may be empty.
  double constraint_violation = 0;
};

struct ProposeRequest {
  // Finished trials in the order of the job's event log.
  absl::Span<const ScoredTrial> history;
  // Proposed, not finished.
  absl::Span<const Architecture> pending;
  // How many proposals are wanted; none when it is not positive.
  int slots = 0;
  // Proposals that this job has made before this request: it numbers the random streams.
  int64_t proposed_so_far = 0;
};

// The contract, which sampler_contract_test.cc checks for every sampler of the factory:
// - Pure: the answer depends on the space, the options, the seed and the request alone. Proposal i
//   of a request draws from Random::ForStream(seed, proposed_so_far + i). Asking for n at once
//   gives what n requests for one give, each with the earlier answers added to `pending`.
// - Every answer is valid, canonical and admissible, and no network is proposed twice: none that is
//   in `history`, in `pending` or earlier in the answer, under whatever genotype.
// - Fewer answers than slots mean that nothing more was found: the space has no further admissible
//   network, or (in a space too large to enumerate) a bounded search met none. Asking again with
//   the same request gives the same.
// - A trial of another space or revision, or of a malformed architecture, is nobody's parent, and
//   nothing is refused because of it.
// - Thread-safe: const without hidden state, as far as the functions in SamplerOptions are.
class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual std::vector<Architecture> Propose(const ProposeRequest& request) const = 0;
};

// OFA's evolution finder (Cai et al., "Once-for-All", ICLR 2020; its published defaults).
struct EvolutionOptions {
  int population = 100;
  double parent_ratio = 0.25;         // of the population: who may have children
  double mutation_ratio = 0.5;        // of the children: mutants; the others are crossed
  double mutation_probability = 0.1;  // of a dimension of a mutant
};

// Deb et al., "NSGA-II", IEEE TEC 2002.
struct Nsga2Options {
  int population = 50;
  double crossover_probability = 0.9;
  double mutation_probability = 0;  // of a dimension; 0: one over the number of dimensions
};

struct SamplerOptions {
  // Whether an architecture keeps the hard constraints that can be checked exactly before anything
  // is measured (MACs, parameters, memory). Empty: all do. Pure and thread-safe; called tens to
  // hundreds of times per proposal.
  std::function<bool(const Architecture&)> admissible;
  // A positive exact cost, e.g. MACs, over whose range the first samples are spread. Needed by
  // "evolution" and "nsga2". Pure and thread-safe.
  std::function<double(const Architecture&)> cost;
  // How many proposals of a job are spread over the cost range before the strategy takes over
  // (spread_initial.h). Not a whole population, as it was in the papers: there an evaluation was a
  // prediction, here it is a measurement.
  int initial_samples = 20;
  EvolutionOptions evolution;
  Nsga2Options nsga2;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_SAMPLER_H_
