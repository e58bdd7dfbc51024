// SPDX-License-Identifier: Apache-2.0
#include "search/predictor/objective_predictor.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace forall {
namespace {

// That the kernel of a cost is chosen on, at most.
constexpr size_t kKernelRows = 128;

// The negated means of whatever has no faster way.
class NegatedMeans : public BatchScorer {
 public:
  explicit NegatedMeans(const ObjectivePredictor* predictor) : predictor_(predictor) {}
  void Score(const Candidates& candidates, absl::Span<float> scores) const override {
    for (size_t i = 0; i < candidates.size(); ++i) {
      scores[i] = static_cast<float>(-predictor_->Mean(candidates.row(i)));
    }
  }

 private:
  const ObjectivePredictor* predictor_;
};

class Known : public ObjectivePredictor {
 public:
  Known(const CandidateSpace& space, std::function<double(const Architecture&)> value,
        const FactoredCost* cost, const BatchScorer* scorer)
      : space_(space), value_(std::move(value)), cost_(cost), fast_(scorer), scorer_(this) {}

  double Mean(const State* row) const override {
    return cost_ != nullptr ? cost_->Evaluate(row) : value_(space_.ToArchitecture(row));
  }
  void Means(const Candidates& candidates, absl::Span<double> means) const override {
    if (fast_ == nullptr) return ObjectivePredictor::Means(candidates, means);
    std::vector<float> scores(candidates.size());
    fast_->Score(candidates, absl::MakeSpan(scores));
    for (size_t i = 0; i < scores.size(); ++i) means[i] = -static_cast<double>(scores[i]);
  }
  double Deviation(const State* /*row*/) const override { return 0; }
  const FactoredCost* additive() const override { return cost_; }
  const BatchScorer& scorer() const override { return fast_ != nullptr ? *fast_ : scorer_; }

 private:
  const CandidateSpace& space_;
  std::function<double(const Architecture&)> value_;
  const FactoredCost* cost_;
  const BatchScorer* fast_;
  NegatedMeans scorer_;
};

class Quality : public ObjectivePredictor {
 public:
  explicit Quality(PairwiseModel model) : model_(std::move(model)) {}
  double Mean(const State* row) const override { return -model_.Mean(row); }
  double Deviation(const State* row) const override { return model_.Deviation(row); }
  double Noise() const override { return model_.Noise(); }
  const BatchScorer& scorer() const override { return model_; }

 private:
  PairwiseModel model_;
};

class Cost : public ObjectivePredictor {
 public:
  Cost(PairwiseModel correction, FactoredCost cost)
      : correction_(std::move(correction)), cost_(std::move(cost)), scorer_(this) {}
  double Mean(const State* row) const override { return cost_.Evaluate(row); }
  double Deviation(const State* row) const override { return correction_.Deviation(row); }
  double Noise() const override { return correction_.Noise(); }
  const FactoredCost* additive() const override { return &cost_; }
  const BatchScorer& scorer() const override { return scorer_; }

 private:
  PairwiseModel correction_;
  FactoredCost cost_;
  NegatedMeans scorer_;
};

// Of values = a + b * prior, the sum of squared relative errors least; b >= 0, and a = 0 where that
// would be broken or where one value is all there is.
struct Line {
  double a = 0;
  double b = 0;
};

Line FitLine(absl::Span<const double> prior, absl::Span<const double> values) {
  double w = 0;
  double x = 0;
  double y = 0;
  double xx = 0;
  double xy = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double weight = 1 / std::max(values[i] * values[i], 1e-300);
    w += weight;
    x += weight * prior[i];
    y += weight * values[i];
    xx += weight * prior[i] * prior[i];
    xy += weight * prior[i] * values[i];
  }
  const double spread = w * xx - x * x;
  if (spread > 1e-9 * w * xx) {
    const double b = (w * xy - x * y) / spread;
    if (b > 0) return {(y - b * x) / w, b};
  }
  return {0, xx > 0 ? xy / xx : 0};
}

}  // namespace

void ObjectivePredictor::Means(const Candidates& candidates, absl::Span<double> means) const {
  for (size_t i = 0; i < candidates.size(); ++i) means[i] = Mean(candidates.row(i));
}

std::unique_ptr<ObjectivePredictor> KnownObjective(const CandidateSpace& space,
                                                   std::function<double(const Architecture&)> value,
                                                   const FactoredCost* cost,
                                                   const BatchScorer* scorer) {
  return std::make_unique<Known>(space, std::move(value), cost, scorer);
}

std::unique_ptr<ObjectivePredictor> LearnQuality(const CandidateSpace& space,
                                                 const Candidates& rows,
                                                 absl::Span<const double> values,
                                                 const PairwiseKernel& kernel,
                                                 const DimensionWeights& weights) {
  std::vector<double> scores(values.begin(), values.end());
  for (double& score : scores) score = -score;
  return std::make_unique<Quality>(PairwiseModel(space, rows, scores, kernel, weights));
}

std::unique_ptr<ObjectivePredictor> LearnCost(const CandidateSpace& space, const Candidates& rows,
                                              absl::Span<const double> values,
                                              const FactoredCost* prior,
                                              const DimensionWeights& weights) {
  FactoredSum sum(space);
  std::vector<double> rest(values.begin(), values.end());
  if (prior != nullptr) {
    std::vector<double> before(values.size());
    prior->Evaluate(rows, absl::MakeSpan(before));
    const Line line = FitLine(before, values);
    for (size_t i = 0; i < rest.size(); ++i) rest[i] -= line.a + line.b * before[i];
    sum.AddConstant(line.a + line.b * prior->sum().constant());
    for (const Factor& factor : prior->sum().factors()) {
      const absl::Span<double> scaled = sum.Add(factor.dimensions);
      const absl::Span<const double> table = prior->sum().values(factor);
      for (size_t i = 0; i < table.size(); ++i) scaled[i] = line.b * table[i];
    }
  }
  Candidates first(space.width());
  for (size_t i = 0; i < std::min(rows.size(), kKernelRows); ++i) first.Append(rows.row(i));
  const PairwiseKernel kernel = PairwiseModel::Choose(
      space, first, absl::MakeSpan(rest).subspan(0, first.size()), /*additive=*/true, weights);
  PairwiseModel correction(space, rows, rest, kernel, weights);
  correction.AddTo(&sum);
  absl::StatusOr<FactoredCost> cost = FactoredCost::FromSum(space, std::move(sum));
  if (!cost.ok()) return nullptr;
  return std::make_unique<Cost>(std::move(correction), *std::move(cost));
}

}  // namespace forall
