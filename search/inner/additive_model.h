// SPDX-License-Identifier: Apache-2.0
// The additive part of a score: one number per state of each dimension, fitted by ridge regression
// as scored candidates come in. Cheap to evaluate and exact to optimise; good near what it has
// seen.
#ifndef FORALL_SEARCH_INNER_ADDITIVE_MODEL_H_
#define FORALL_SEARCH_INNER_ADDITIVE_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "search/inner/candidates.h"
#include "search/inner/factored_sum.h"

namespace forall {

// Thread-compatible.
class AdditiveModel {
 public:
  explicit AdditiveModel(const CandidateSpace& space);

  void Learn(const State* row, double score);
  double learned() const { return weight_; }
  // From all that the models `observers` have learned, of which this may be one; before the first
  // fit everything is predicted as 0.
  void Fit(absl::Span<const AdditiveModel* const> observers);

  float Predict(const State* row) const {
    float sum = mean_;
    const float* table = coefficients_.data();
    for (size_t d = 0; d < offset_.size(); ++d) sum += table[offset_[d] + row[d]];
    return sum;
  }
  // What a change of one dimension does to the score: the range of a dimension's numbers over the
  // options that were seen, on average over the dimensions with several.
  double Scale() const { return scale_; }
  FactoredSum AsSum(const CandidateSpace& space) const;

 private:
  void MeasureScale(const std::vector<size_t>& seen);

  std::vector<uint32_t> offset_;  // of a dimension's states among the features
  uint32_t features_ = 0;
  std::vector<uint32_t> moments_;   // lower triangle of the sum of x x'
  std::vector<double> products_;    // sum of x * score
  std::vector<uint32_t> learning_;  // features of the row that is being learned
  double weight_ = 0;
  double total_ = 0;
  float mean_ = 0;
  double scale_ = 0;
  std::vector<float> coefficients_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_INNER_ADDITIVE_MODEL_H_
