// SPDX-License-Identifier: Apache-2.0
// A sampler decides which architectures to measure next. One file per strategy; sampler_factory.h
// lists them by name.
#ifndef FORALL_SEARCH_SAMPLER_SAMPLER_H_
#define FORALL_SEARCH_SAMPLER_SAMPLER_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "search/inner/batch_scorer.h"
#include "search/inner/candidates.h"
#include "space/search_space.h"

namespace forall {

// A finished trial as a sampler sees it.
struct ScoredTrial {
  // The number of its proposal within the job, from 1.
  int64_t id = 0;
  Architecture architecture;
  // Oriented: lower is better. The same objectives in the same order for all trials of a job. NaN
  // where a trial broke a limit before it was measured.
  std::vector<double> objectives;
  // 0 when all constraints hold, otherwise the sum of their violations, each relative to its bound.
  // Infinity for a trial that failed; its objectives may be empty.
  double constraint_violation = 0;
  // Oriented as well: the metrics that constraints limit and that are no objectives.
  std::vector<double> limited = {};
};

// What an objective is believed to be before it is measured, oriented as in ScoredTrial.
struct Prediction {
  double mean = 0;
  double deviation = 0;  // standard deviation; 0 for what is known exactly

  friend bool operator==(const Prediction& a, const Prediction& b) {
    return a.mean == b.mean && a.deviation == b.deviation;
  }
};

struct Proposal {
  Architecture architecture;
  // One for each objective; empty where the strategy does not predict.
  std::vector<Prediction> predicted = {};

  friend bool operator==(const Proposal& a, const Proposal& b) {
    return a.architecture == b.architecture && a.predicted == b.predicted;
  }
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
  // Measured before the job began, each network once; the same in every request of a job. They are
  // no trials of the job: they may be proposed, which costs it no measurement where all is known.
  // NaN for objectives that are not known; `id` means nothing. "guided" alone looks at them.
  absl::Span<const ScoredTrial> known = {};
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
// - What is predicted of an answer is finite, one for each of SamplerOptions::objectives, with no
//   deviation below 0; or nothing is.
// - A trial of another space or revision, or of a malformed architecture, is nobody's parent, and
//   nothing is refused because of it.
// - Thread-safe: const without hidden state, as far as the functions in SamplerOptions are.
class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual std::vector<Proposal> Propose(const ProposeRequest& request) const = 0;
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

// Where the values of an objective, or of a metric that a constraint limits, come from. "guided"
// needs to know.
struct SearchedMetric {
  enum class Kind {
    kKnown,    // `value` has it, nothing is measured: MACs, or an imported predictor's accuracy
    kQuality,  // measured, learned from what each choice and each pair of choices adds: accuracy
    kCost,     // measured, positive, learned as an additive correction of `value`: latency
  };
  Kind kind = Kind::kQuality;
  // kKnown: the metric, oriented as in ScoredTrial; NaN for an architecture that it is not known
  // of. kCost: what it is roughly in proportion to (a lookup table's latency); empty:
  // SamplerOptions::cost. Pure and thread-safe; not for kQuality.
  std::function<double(const Architecture&)> value;
  // kKnown: makes the same values, negated, in batches and faster, for a space without the options
  // that `value` does not know; empty, or nullptr as its answer, where there is no such way. Given
  // for what is not additive.
  std::function<std::unique_ptr<BatchScorer>(const CandidateSpace&)> scorer = nullptr;
  // What the constraints allow at most, in the same orientation.
  double bound = std::numeric_limits<double>::infinity();
};

struct GuidedOptions {
  // The first proposals, spread over the cost range: a model needs something to learn from.
  int initial_samples = 14;
  // So many proposals rest on one fit and one inner search.
  int batch = 2;
  // Candidates that an inner search scores, for each objective that it maximises.
  int candidates = 20000;
};

struct SamplerOptions {
  // Whether an architecture keeps the hard constraints that can be checked exactly before anything
  // is measured (MACs, parameters, memory). Empty: all do. Pure and thread-safe; called tens to
  // hundreds of times per proposal.
  std::function<bool(const Architecture&)> admissible;
  // Networks that are likely to be admissible where few are, e.g. the cheapest ones of costs that
  // are limited: the way into the admissible region starts from these too.
  std::vector<Architecture> anchors;
  // A positive exact cost, e.g. MACs, over whose range the first samples are spread. Needed by all
  // but "random". Pure and thread-safe.
  std::function<double(const Architecture&)> cost;
  // How many proposals of a job are spread over the cost range before the strategy takes over
  // (spread_initial.h). Not a whole population, as it was in the papers: there an evaluation was a
  // prediction, here it is a measurement.
  int initial_samples = 20;
  EvolutionOptions evolution;
  Nsga2Options nsga2;
  GuidedOptions guided;
  // One for each of ScoredTrial::objectives, at least one, and one for each of
  // ScoredTrial::limited. Needed by "guided".
  std::vector<SearchedMetric> objectives;
  std::vector<SearchedMetric> limited;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_SAMPLER_H_
