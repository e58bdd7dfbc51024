// SPDX-License-Identifier: Apache-2.0
// What an objective is believed to be before it is measured, in the orientation of the search: less
// is better.
#ifndef FORALL_SEARCH_PREDICTOR_OBJECTIVE_PREDICTOR_H_
#define FORALL_SEARCH_PREDICTOR_OBJECTIVE_PREDICTOR_H_

#include <functional>
#include <memory>

#include "absl/types/span.h"
#include "search/inner/batch_scorer.h"
#include "search/inner/candidates.h"
#include "search/inner/factored_cost.h"
#include "search/predictor/pairwise_model.h"

namespace forall {

// Immutable; thread-safe.
class ObjectivePredictor {
 public:
  virtual ~ObjectivePredictor() = default;
  virtual double Mean(const State* row) const = 0;
  // Of every candidate.
  virtual void Means(const Candidates& candidates, absl::Span<double> means) const;
  // Of what the metric is believed to be; 0 for what is known exactly.
  virtual double Deviation(const State* row) const = 0;
  // Standard deviation of a measurement around that (PairwiseModel::Noise); 0 as well.
  virtual double Noise() const { return 0; }
  // The means as an additive cost; nullptr when they are no sum of small tables.
  virtual const FactoredCost* additive() const { return nullptr; }
  // Scores of which more is better: the means negated.
  virtual const BatchScorer& scorer() const = 0;
};

// Known without measuring. `cost` is its compiled form, `scorer` a faster way to its negated
// values; neither is owned, and nullptr means that it has none.
std::unique_ptr<ObjectivePredictor> KnownObjective(const CandidateSpace& space,
                                                   std::function<double(const Architecture&)> value,
                                                   const FactoredCost* cost,
                                                   const BatchScorer* scorer = nullptr);

// Learned from values measured at `rows`, one per row, all finite, at least one, as a sum over
// choices and pairs of choices (PairwiseModel).
std::unique_ptr<ObjectivePredictor> LearnQuality(const CandidateSpace& space,
                                                 const Candidates& rows,
                                                 absl::Span<const double> values,
                                                 const PairwiseKernel& kernel,
                                                 const DimensionWeights& weights = {});

// The same for an additive, positive metric that grows about as `prior` does (not owned; nullptr:
// no such cost is known): a + b * prior, fitted by least squares of the relative errors, and an
// additive model of what that leaves. nullptr when the result has no bounds (FactoredCost).
std::unique_ptr<ObjectivePredictor> LearnCost(const CandidateSpace& space, const Candidates& rows,
                                              absl::Span<const double> values,
                                              const FactoredCost* prior,
                                              const DimensionWeights& weights = {});

}  // namespace forall

#endif  // FORALL_SEARCH_PREDICTOR_OBJECTIVE_PREDICTOR_H_
