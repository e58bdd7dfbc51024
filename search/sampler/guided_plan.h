// SPDX-License-Identifier: Apache-2.0
// What a batch of guided proposals rests on: the compiled space, models of the metrics, and the
// candidates that look best to them.
#ifndef FORALL_SEARCH_SAMPLER_GUIDED_PLAN_H_
#define FORALL_SEARCH_SAMPLER_GUIDED_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "search/inner/candidates.h"
#include "search/inner/factored_cost.h"
#include "search/predictor/objective_predictor.h"
#include "search/predictor/pairwise_model.h"
#include "search/sampler/admissible_region.h"
#include "search/sampler/candidate_search.h"
#include "search/sampler/sampler.h"

namespace forall {

// What an inner search has found.
struct GuidedCandidates {
  explicit GuidedCandidates(size_t width) : rows(width) {}
  Candidates rows;
  std::vector<Architecture> architectures;  // all admissible
  std::vector<double> means;                // rows x objectives
  std::vector<double> excess;  // by how much the bounds are broken, relative to these; 0: kept
  // So many at the end were measured before the job: means are what is known, where it is.
  size_t known = 0;
  // Where nothing is learned, the rows from the one to propose first.
  std::vector<size_t> order;
};

// A job's space and what is known of its metrics, as tables. Thread-safe; immutable but for memos.
class GuidedSpace {
 public:
  // Thousands of calls of the options' functions (FactoredCost::Compile). A known metric that is
  // not additive stays a function, or becomes its scorer; options that it does not know are left
  // out. Errors as CandidateSpace::Usable.
  static absl::StatusOr<std::unique_ptr<const GuidedSpace>> Create(const SearchSpace& space,
                                                                   const SamplerOptions& options);

  const CandidateSpace& space() const { return space_; }
  // nullptr where there is none.
  const FactoredCost* cost() const { return Get(cost_); }
  const FactoredCost* objective(size_t i) const { return Get(objectives_[i]); }
  const FactoredCost* limited(size_t i) const { return Get(limited_[i]); }
  // Of what is learned; by the cost where there is one.
  const DimensionWeights& weights() const { return weights_; }
  const BatchScorer* scorer(size_t objective) const { return scorers_[objective].get(); }

  // Where nothing is learned, many plans rest on one search: `search` is called when `stage` is not
  // the one asked for last.
  std::shared_ptr<const GuidedCandidates> Remember(
      int64_t stage, const std::function<std::shared_ptr<const GuidedCandidates>()>& search) const;
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
  DimensionWeights weights_;
  std::vector<std::optional<FactoredCost>> objectives_;
  std::vector<std::optional<FactoredCost>> limited_;
  std::vector<std::unique_ptr<BatchScorer>> scorers_;  // by objective

  mutable Mutex mutex_;
  // The latest, by the rows and values that they were chosen for.
  mutable std::vector<std::pair<uint64_t, PairwiseKernel>> kernels_ ABSL_GUARDED_BY(mutex_);
  mutable int64_t found_stage_ ABSL_GUARDED_BY(mutex_) = -1;
  mutable std::shared_ptr<const GuidedCandidates> found_ ABSL_GUARDED_BY(mutex_);
};

// Immutable; thread-safe. A pure function of what it is made from.
class GuidedPlan {
 public:
  // `space` and `options` are not owned. `settled`: the finished trials that may be learned from,
  // as may `known` (ProposeRequest), before proposal `first`. `seed`: of the job; every plan draws
  // from streams of its own.
  GuidedPlan(const GuidedSpace& space, const SamplerOptions& options,
             const AdmissibleRegion& region, absl::Span<const ScoredTrial> known,
             std::vector<ScoredTrial> settled, int64_t first, uint64_t seed);

  // Candidates from the one to measure first: by the hypervolume that measuring it is expected to
  // add to what is measured and to what is predicted of everything else under way, of those that
  // are predicted to keep the limits; then by how little the others break them. What was measured
  // before the job stands among them with what is known of it. None that is in the request. Empty
  // where too little is known to learn from.
  std::vector<Architecture> Rank(const ProposeRequest& request) const;

  // Of the objectives of a valid architecture; empty where too little is known, and where an
  // objective was measured before the job: no prediction is what one was told.
  std::vector<Prediction> Predict(const Architecture& architecture) const;

 private:
  struct Data;
  std::unique_ptr<ObjectivePredictor> Learn(const SearchedMetric& metric, const FactoredCost* known,
                                            const BatchScorer* scorer, const Data& data) const;
  std::vector<Data> Collect(absl::Span<const ScoredTrial> known) const;
  std::shared_ptr<const GuidedCandidates> Search(const AdmissibleRegion& region,
                                                 absl::Span<const ScoredTrial> known,
                                                 const Candidates& start, uint64_t seed) const;
  // The same where all is known: as thorough as a search can be, once for many plans.
  std::shared_ptr<const GuidedCandidates> SearchKnown(const AdmissibleRegion& region, int64_t stage,
                                                      uint64_t seed) const;
  // The costs that candidates are kept apart by or limited by, and what scores them.
  // What the inner search maximises, with this part of its budget.
  struct InnerScorer {
    const BatchScorer* scorer = nullptr;
    int64_t share = 1;
  };
  void Collect(std::vector<CandidateCost>* costs, std::vector<InnerScorer>* scorers) const;
  // Admissible ones, each once, with what is predicted of them.
  std::shared_ptr<GuidedCandidates> Assess(const AdmissibleRegion& region,
                                           absl::Span<const Candidates> found) const;
  // Each adds most hypervolume to the trials before `stage` and to those that stand before it.
  std::vector<size_t> GreedyOrder(const GuidedCandidates& found, int64_t stage) const;
  std::vector<Architecture> RankKnown(const ProposeRequest& request) const;
  void AddKnown(const AdmissibleRegion& region, absl::Span<const ScoredTrial> known,
                GuidedCandidates* candidates) const;
  double Excess(const State* row, absl::Span<const double> means) const;
  // What is known of a network, and predicted where it is not.
  std::vector<double> MeansOf(const State* row) const;

  const GuidedSpace& space_;
  const SamplerOptions& options_;
  const std::vector<ScoredTrial> settled_;
  std::vector<std::unique_ptr<ObjectivePredictor>> objectives_;
  std::vector<std::unique_ptr<ObjectivePredictor>> limited_;
  std::vector<double> reference_;
  // What is known of networks from before the job, NaN where nothing is.
  absl::flat_hash_map<uint64_t, std::vector<double>> known_;
  std::shared_ptr<const GuidedCandidates> found_;  // nullptr where too little is known
};

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_GUIDED_PLAN_H_
