// SPDX-License-Identifier: Apache-2.0
// An additive cost (multiply-accumulates, parameters, the latency of a lookup table) compiled into
// a sum of small tables: tens of nanoseconds a candidate, with exact bounds.
#ifndef FORALL_SEARCH_INNER_FACTORED_COST_H_
#define FORALL_SEARCH_INNER_FACTORED_COST_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "search/inner/candidates.h"
#include "search/inner/factored_sum.h"
#include "space/search_space.h"

namespace forall {

// The cost of a valid, canonical architecture: pure, and finite where it answers.
using CostOracle = std::function<absl::StatusOr<double>(const Architecture&)>;

// Immutable; thread-safe. `space` is not owned and must outlive it.
class FactoredCost {
 public:
  // Learns the form from the oracle alone, for any space. Which dimensions interact is found by
  // differences: those of i and j do when the effect of a change of i depends on j, and a sum of
  // terms over groups of dimensions has no interaction but within its groups. Groups are the
  // maximal cliques of that graph; each one's table is what it adds to the largest network (the
  // anchored decomposition; Kuo et al., "On decompositions of multivariate functions", Mathematics
  // of Computation 79, 2010). Some 2,000 calls of the oracle for an OFA MobileNetV3 at five
  // resolutions. FailedPrecondition when the result is not the oracle's on random networks, or when
  // the groups are too large for tables (2^18 entries in all): the cost is not additive over a few
  // dimensions. The oracle's error when it has none for a network of the space.
  static absl::StatusOr<FactoredCost> Compile(const CandidateSpace& space,
                                              const CostOracle& oracle);

  // A sum that is known already. ResourceExhausted as Minimizer::Create.
  static absl::StatusOr<FactoredCost> FromSum(const CandidateSpace& space, FactoredSum sum);

  const CandidateSpace& space() const { return *space_; }
  const FactoredSum& sum() const { return sum_; }
  double Evaluate(const State* row) const { return sum_.Evaluate(row); }
  void Evaluate(const Candidates& candidates, absl::Span<double> costs) const {
    sum_.Evaluate(candidates, costs);
  }

  // The ends of the space, exactly.
  const Minimum& cheapest() const { return cheapest_; }
  const Minimum& dearest() const { return dearest_; }
  // The same among the networks with the options in `fixed` (see Minimizer).
  absl::StatusOr<Minimum> Cheapest(absl::Span<const State> fixed) const;
  absl::StatusOr<Minimum> Dearest(absl::Span<const State> fixed) const;

  // Changes `row` into a near network (few options changed by few steps) whose cost lies in [low,
  // high]: the exact minimum of steps + lambda * cost, lambda by bisection; where every such
  // network jumps over the interval, single and double moves from there. OutOfRange, with the
  // nearest cost that there is, when no network of the space can be inside; NotFound when the
  // interval is so narrow that none was met. `row` is then left as it was.
  absl::Status Repair(double low, double high, State* row) const;

 private:
  FactoredCost(const CandidateSpace& space, FactoredSum sum, Minimum cheapest, Minimum dearest);
  bool StepInto(double low, double high, State* row) const;

  const CandidateSpace* space_;
  FactoredSum sum_;
  Minimum cheapest_;
  Minimum dearest_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_INNER_FACTORED_COST_H_
