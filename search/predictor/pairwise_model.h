// SPDX-License-Identifier: Apache-2.0
// Predicts a measured metric of architectures from few measurements: Bayesian ridge regression on
// what each choice adds and what each pair of choices adds together, with its uncertainty.
//
// It is a Gaussian process with the kernel a * (g + q * g^2), g the inner product of centred
// features (Rasmussen and Williams, "Gaussian processes for machine learning", 2006, sections 2.1
// and 5.4): g alone is ridge regression on the features, g^2 adds their products. Features belong
// to one dimension each, so the mean is exactly a sum of one table per dimension and one per pair
// of dimensions, and a prediction costs table lookups however many measurements there are. Why this
// model and no other: docs/adr/0007-guided-search.md.
#ifndef FORALL_SEARCH_PREDICTOR_PAIRWISE_MODEL_H_
#define FORALL_SEARCH_PREDICTOR_PAIRWISE_MODEL_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "search/inner/batch_scorer.h"
#include "search/inner/candidates.h"
#include "search/inner/factored_cost.h"
#include "search/inner/factored_sum.h"

namespace forall {

// Of the kernel, in units of the values' own variance.
struct PairwiseKernel {
  double amplitude = 3;   // a
  double pairwise = 0.1;  // q; 0: an additive model
  double noise = 0.03;    // standard deviation of a measurement
};

// How much the choice of each dimension is thought to matter before anything is measured, relative
// to the others: the prior's standard deviation of what it adds. One per dimension; empty: all
// alike.
using DimensionWeights = std::vector<double>;

// What takes more of a cost is thought to give more: the weight of a dimension is the square root
// of what its smallest option alone would take from the logarithm of the largest network's `cost`
// (positive, e.g. MACs), relative to the root mean square over dimensions; none is under 0.3
// before the root. A resolution weighs more than one block's kernel
// (docs/adr/0007-guided-search.md).
DimensionWeights WeightsByCost(const CandidateSpace& space, const FactoredCost& cost);

// Immutable; thread-safe.
class PairwiseModel : public BatchScorer {
 public:
  // The kernel of a grid with the largest marginal likelihood of `values` (one per row, finite, at
  // least one). O(n^3) for the rows given: hand in at most some hundred.
  static PairwiseKernel Choose(const CandidateSpace& space, const Candidates& rows,
                               absl::Span<const double> values, bool additive,
                               const DimensionWeights& weights = {});

  // O(n^3 / 3 + n s^2) for n rows and s states of the space. `values` as above.
  PairwiseModel(const CandidateSpace& space, const Candidates& rows,
                absl::Span<const double> values, const PairwiseKernel& kernel,
                const DimensionWeights& weights = {});
  PairwiseModel(PairwiseModel&& other) noexcept;
  ~PairwiseModel() override;

  double Mean(const State* row) const;
  // Of what the metric is believed to be, the noise of a further measurement not included. O(n^2).
  double Deviation(const State* row) const;
  // Standard deviation of a measurement around what could be known of its architecture: the chance
  // of measuring, and what is the architecture's own beyond choices and pairs.
  double Noise() const;

  // The means.
  void Score(const Candidates& candidates, absl::Span<float> scores) const override;
  // Adds the mean to `sum`; for an additive model.
  void AddTo(FactoredSum* sum) const;

 private:
  struct Posterior;
  std::vector<size_t> offset_;  // of a dimension's states
  size_t states_ = 0;
  double constant_ = 0;
  std::vector<double> single_;  // by state
  std::vector<float> pair_;     // states x states, doubled off the diagonal; empty when additive
  std::unique_ptr<Posterior> posterior_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_PREDICTOR_PAIRWISE_MODEL_H_
