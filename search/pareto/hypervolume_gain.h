// SPDX-License-Identifier: Apache-2.0
// How much a further point would add to the hypervolume of a growing frontier: what a search asks
// of thousands of candidates before it chooses one.
#ifndef FORALL_SEARCH_PARETO_HYPERVOLUME_GAIN_H_
#define FORALL_SEARCH_PARETO_HYPERVOLUME_GAIN_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "search/pareto/frontier.h"

namespace forall {

// All objectives minimised. Thread-compatible.
class HypervolumeGain {
 public:
  // The reference is worse than what counts. InvalidArgument where it is empty or not finite.
  static absl::StatusOr<HypervolumeGain> Create(std::vector<double> reference);

  // A point with as many objectives as the reference, all finite. Points that are not better than
  // the reference in every objective add nothing.
  void Add(absl::Span<const double> point);
  // The hypervolume that Add would gain. O(log f + steps that the point covers) for two objectives
  // and a frontier of f points; otherwise a hypervolume of the f points as the new one limits them
  // (hypervolume.h).
  double Gain(absl::Span<const double> point) const;
  // What a measurement is expected to gain that comes out around `point`, with independent normal
  // errors of these standard deviations (one per objective, none negative): the mean of Gain over
  // eight equally likely outcomes, quantiles that each objective takes in another order, the same
  // for every point. Gain where all deviations are 0; eight times its cost otherwise.
  double ExpectedGain(absl::Span<const double> point, absl::Span<const double> deviations) const;

 private:
  explicit HypervolumeGain(std::vector<double> reference, Frontier frontier);
  bool Counts(absl::Span<const double> point) const;

  std::vector<double> reference_;
  Frontier frontier_;
  // Members' points, row-major, ascending lexicographically.
  std::vector<double> rows_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_HYPERVOLUME_GAIN_H_
