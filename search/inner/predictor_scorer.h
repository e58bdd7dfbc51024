// SPDX-License-Identifier: Apache-2.0
// An imported accuracy predictor as a scorer of whole batches.
#ifndef FORALL_SEARCH_INNER_PREDICTOR_SCORER_H_
#define FORALL_SEARCH_INNER_PREDICTOR_SCORER_H_

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "search/inner/batch_scorer.h"
#include "search/inner/candidates.h"
#include "search/inner/perceptron.h"
#include "supernet/predictor/accuracy_predictor.h"

namespace forall {

// Scores are AccuracyPredictor::Predict's percent, in float: within 1e-5 of it, relatively. They
// differ in the last digits between instruction sets; what is reported is predicted again exactly.
// Immutable; thread-safe.
class PredictorScorer : public BatchScorer {
 public:
  // InvalidArgument when the space is not the predictor's, or allows an option that the predictor
  // does not know (CandidateSpace::Usable leaves those out). Nothing of the arguments is kept.
  static absl::StatusOr<std::unique_ptr<PredictorScorer>> Create(
      const CandidateSpace& space, const AccuracyPredictor& predictor,
      InstructionSet set = BestInstructionSet());

  void Score(const Candidates& candidates, absl::Span<float> scores) const override {
    perceptron_.Run(candidates, scores);
  }

 private:
  explicit PredictorScorer(Perceptron perceptron) : perceptron_(std::move(perceptron)) {}

  Perceptron perceptron_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_INNER_PREDICTOR_SCORER_H_
