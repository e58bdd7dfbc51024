// SPDX-License-Identifier: Apache-2.0
// A function of a candidate that is a sum of small tables over a few dimensions each, such as an
// additive cost or the additive part of a predictor; and its exact minimum.
#ifndef FORALL_SEARCH_INNER_FACTORED_SUM_H_
#define FORALL_SEARCH_INNER_FACTORED_SUM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "search/inner/candidates.h"

namespace forall {

// One table: a value for each combination of states of `dimensions`, the last running fastest. Each
// dimension has inactive(d) + 1 states.
struct Factor {
  std::vector<uint32_t> dimensions;
  std::vector<double> values;
};

// Immutable once built; thread-compatible.
class FactoredSum {
 public:
  // `space` is not kept.
  explicit FactoredSum(const CandidateSpace& space);

  // An empty table (all zeros) over `dimensions`, distinct, to be filled through the result.
  Factor* Add(std::vector<uint32_t> dimensions);
  void AddConstant(double value) { constant_ += value; }

  double constant() const { return constant_; }
  const std::vector<Factor>& factors() const { return factors_; }
  size_t Index(const Factor& factor, const State* row) const {
    size_t index = 0;
    for (const uint32_t d : factor.dimensions) index = index * states_[d] + row[d];
    return index;
  }
  double Evaluate(const State* row) const {
    double sum = constant_;
    for (const Factor& factor : factors_) sum += factor.values[Index(factor, row)];
    return sum;
  }
  void Evaluate(const Candidates& candidates, absl::Span<double> values) const;

 private:
  std::vector<size_t> states_;
  std::vector<Factor> factors_;
  double constant_ = 0;
};

struct WeightedSum {
  const FactoredSum* sum = nullptr;
  double weight = 1;
};

struct Minimum {
  double value = 0;
  std::vector<State> row;
};

// The candidate that minimises the weighted total of `sums`, exactly, by variable elimination
// (Dechter, "Bucket elimination", Artificial Intelligence 113, 1999): dimensions are minimised away
// one by one, the one that leaves the smallest table first. In an OFA space that is dynamic
// programming along blocks and stages. `fixed[d]`, where given and not kFree, is the only option
// of dimension d (it has no effect while d is inactive). ResourceExhausted when dimensions hang
// together so much that a table would pass 2^22 entries. Ties go to the first option.
inline constexpr State kFree = 255;
absl::StatusOr<Minimum> Minimize(const CandidateSpace& space, absl::Span<const WeightedSum> sums,
                                 absl::Span<const State> fixed = {});

}  // namespace forall

#endif  // FORALL_SEARCH_INNER_FACTORED_SUM_H_
