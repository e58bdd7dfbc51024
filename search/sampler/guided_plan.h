// SPDX-License-Identifier: Apache-2.0
// What a batch of guided proposals rests on: the compiled space, models of the metrics, and the
// candidates that look best to them.
#ifndef FORALL_SEARCH_SAMPLER_GUIDED_PLAN_H_
#define FORALL_SEARCH_SAMPLER_GUIDED_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "search/inner/candidates.h"
#include "search/inner/factored_cost.h"
#include "search/predictor/objective_predictor.h"
#include "search/predictor/pairwise_model.h"
#include "search/sampler/admissible_region.h"
#include "search/sampler/sampler.h"

namespace forall {

// A job's space and what is known of its costs, as tables. Immutable; thread-safe.
class GuidedSpace {
 public:
  // Thousands of calls of the options' functions (FactoredCost::Compile). A cost that is not
  // additive stays a function. InvalidArgument as CandidateSpace::Create.
  static absl::StatusOr<std::unique_ptr<const GuidedSpace>> Create(const SearchSpace& space,
                                                                   const SamplerOptions& options);

  const CandidateSpace& space() const { return space_; }
  // nullptr where there is none.
  const FactoredCost* cost() const { return Get(cost_); }
  const FactoredCost* objective(size_t i) const { return Get(objectives_[i]); }
  const FactoredCost* limited(size_t i) const { return Get(limited_[i]); }

  // PairwiseModel::Choose, remembered: plans that follow each other ask for the same.
  PairwiseKernel Kernel(const Candidates& rows, absl::Span<const double> values) const;

 private:
  explicit GuidedSpace(CandidateSpace space) : space_(std::move(space)) {}
  static const FactoredCost* Get(const std::optional<FactoredCost>& cost) {
    return cost.has_value() ? &*cost : nullptr;
  }
  std::optional<FactoredCost> Compile(const std::function<double(const Architecture&)>& cost) const;

  const CandidateSpace space_;
  std::optional<FactoredCost> cost_;
  std::vector<std::optional<FactoredCost>> objectives_;
  std::vector<std::optional<FactoredCost>> limited_;

  mutable Mutex mutex_;
  // The latest, by the rows and values that they were chosen for.
  mutable std::vector<std::pair<uint64_t, PairwiseKernel>> kernels_ ABSL_GUARDED_BY(mutex_);
};

// Immutable; thread-safe. A pure function of what it is made from.
class GuidedPlan {
 public:
  // `space` and `options` are not owned. `settled`: the finished trials that may be learned from.
  GuidedPlan(const GuidedSpace& space, const SamplerOptions& options,
             const AdmissibleRegion& region, std::vector<ScoredTrial> settled, uint64_t seed);

  // Candidates from the one to measure first: by the hypervolume that its predicted objectives add
  // to what is measured and to what is predicted of everything else under way, of those that are
  // predicted to keep the limits; then by how little the others break them. None that is in the
  // request. Empty where too little is known to learn from.
  std::vector<Architecture> Rank(const ProposeRequest& request) const;

  // Of the objectives of a valid architecture; empty where too little is known.
  std::vector<Prediction> Predict(const Architecture& architecture) const;

 private:
  struct Data;
  std::unique_ptr<ObjectivePredictor> Learn(const SearchedMetric& metric, const FactoredCost* known,
                                            const Data& data,
                                            absl::Span<const double> values) const;
  void Search(const AdmissibleRegion& region, const Candidates& start, uint64_t seed);
  double Excess(const State* row, absl::Span<const double> means) const;
  std::vector<double> MeansOf(const State* row) const;

  const GuidedSpace& space_;
  const SamplerOptions& options_;
  const std::vector<ScoredTrial> settled_;
  std::vector<std::unique_ptr<ObjectivePredictor>> objectives_;
  std::vector<std::unique_ptr<ObjectivePredictor>> limited_;
  std::vector<double> reference_;
  Candidates candidates_;
  std::vector<Architecture> architectures_;  // of the candidates
  std::vector<double> means_;                // candidates x objectives
  std::vector<double> excess_;               // of the candidates
};

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_GUIDED_PLAN_H_
