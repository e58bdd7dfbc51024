// SPDX-License-Identifier: Apache-2.0
// A function of a candidate that is a sum of small tables over a few dimensions each, such as an
// additive cost or the additive part of a predictor; and its exact minimum.
#ifndef FORALL_SEARCH_INNER_FACTORED_SUM_H_
#define FORALL_SEARCH_INNER_FACTORED_SUM_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "search/inner/candidates.h"

namespace forall {

// One table over `dimensions`: a value for each combination of their states, the last running
// fastest. Each dimension has inactive(d) + 1 states.
struct Factor {
  std::vector<uint32_t> dimensions;
  std::vector<uint32_t> strides;
  size_t offset = 0;  // of its values among the sum's
  size_t size = 0;

  size_t Index(const State* row) const {
    size_t index = 0;
    for (size_t i = 0; i < dimensions.size(); ++i) index += strides[i] * row[dimensions[i]];
    return index;
  }
};

// Immutable once built; thread-compatible.
class FactoredSum {
 public:
  // `space` is not kept.
  explicit FactoredSum(const CandidateSpace& space);

  // A table (all zeros) over distinct dimensions, to be filled through the result, which holds
  // until the next call.
  absl::Span<double> Add(absl::Span<const uint32_t> dimensions);
  void AddConstant(double value) { constant_ += value; }

  double constant() const { return constant_; }
  const std::vector<Factor>& factors() const { return factors_; }
  absl::Span<const double> values(const Factor& factor) const {
    return absl::MakeConstSpan(values_).subspan(factor.offset, factor.size);
  }
  double Evaluate(const State* row) const {
    double sum = most_slots_ < kNarrow ? SumNarrow<kNarrow - 1>(row) : SumNarrow<kNarrow>(row);
    for (const Factor& factor : wide_) sum += values_[factor.offset + factor.Index(row)];
    return sum;
  }
  void Evaluate(const Candidates& candidates, absl::Span<double> values) const;

 private:
  // Nearly all tables have few dimensions: filled up with strides of 0 they are read without a
  // loop.
  static constexpr size_t kNarrow = 4;
  struct Narrow {
    uint32_t dimensions[kNarrow] = {};
    uint32_t strides[kNarrow] = {};
    size_t offset = 0;
  };
  template <size_t kSlots>
  double SumNarrow(const State* row) const {
    double sum = constant_;
    const double* const values = values_.data();
    for (const Narrow& table : narrow_) {
      size_t index = table.offset;
      for (size_t i = 0; i < kSlots; ++i) index += table.strides[i] * row[table.dimensions[i]];
      sum += values[index];
    }
    return sum;
  }

  std::vector<uint32_t> states_;
  std::vector<Factor> factors_;
  std::vector<Narrow> narrow_;
  size_t most_slots_ = 0;  // dimensions of the widest of them
  std::vector<Factor> wide_;
  std::vector<double> values_;
  double constant_ = 0;
};

struct Minimum {
  double value = 0;
  std::vector<State> row;
};

// Finds the candidate that minimises a weighted total of sums, exactly, by variable elimination
// (Dechter, "Bucket elimination", Artificial Intelligence 113, 1999): dimensions are minimised away
// one by one, the one that leaves the smallest table first. In an OFA space that is dynamic
// programming along blocks and stages. What does not depend on the weights is done once: in an OFA
// space a minimum then takes some tens of microseconds. Immutable; thread-safe.
inline constexpr State kFree = 255;
class Minimizer {
 public:
  // `fixed[d]`, where given and not kFree, is the only option of dimension d (it has no effect
  // while d is inactive). `space` is not owned and must outlive this; `sums` are copied.
  // ResourceExhausted when dimensions hang together so much that a table would pass 2^22 entries.
  static absl::StatusOr<Minimizer> Create(const CandidateSpace& space,
                                          absl::Span<const FactoredSum* const> sums,
                                          absl::Span<const State> fixed = {});

  // One weight per sum. Ties go to the first option.
  Minimum Run(absl::Span<const double> weights) const;

 private:
  friend class MinimizerBuilder;
  // A table over positions in the domains of its dimensions, the last running fastest.
  struct Table {
    std::vector<uint32_t> dimensions;
    size_t size = 0;
    std::vector<std::pair<size_t, std::vector<double>>> terms;  // sum, and its values
  };
  // Joins `inputs` and takes the minimum over `dimension`, for each position of `others`.
  struct Step {
    uint32_t dimension = 0;
    std::vector<uint32_t> others;
    size_t size = 0;
    size_t output = 0;
    std::vector<size_t> inputs;
    std::vector<uint32_t> strides;  // of each input, along the dimension
    std::vector<uint32_t> offsets;  // [input][position of others]
  };
  explicit Minimizer(const CandidateSpace& space) : space_(&space) {}

  const CandidateSpace* space_;
  std::vector<std::vector<State>> domains_;
  std::vector<double> constants_;  // of each sum
  std::vector<Table> tables_;      // those of the sums, then one per step
  std::vector<Step> steps_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_INNER_FACTORED_SUM_H_
