// SPDX-License-Identifier: Apache-2.0
// What is known of a space before a job begins: networks that earlier jobs have measured. They are
// no trials of the job, but it may learn from them and propose them.
#ifndef FORALL_SEARCH_SAMPLER_KNOWN_SUBNETS_H_
#define FORALL_SEARCH_SAMPLER_KNOWN_SUBNETS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "search/sampler/admissible_region.h"
#include "search/sampler/sampler.h"

namespace forall {

// So many say more than a model can use: it takes a cubic time, and those far from the frontier
// teach little about it.
inline constexpr size_t kMostKnownSubnets = 300;

// Of many, the ones to learn from, ascending, at most `most`: two thirds by their non-dominated
// rank, the others spread evenly over the cost of what is left. Those that lack nothing come first,
// then those that lack the same objectives together (`costs`, one per row and finite, stand for
// what is missing); of either, those that break no limit. Pure; `rows` as in ProposeRequest::known,
// those without any objective are left out.
std::vector<size_t> ChooseKnown(absl::Span<const ScoredTrial> rows, absl::Span<const double> costs,
                                size_t most = kMostKnownSubnets);

// How a guided job begins with what is known. Immutable; thread-compatible.
class KnownSubnets {
 public:
  // `known` as in ProposeRequest. `region` is not owned and must outlive it.
  KnownSubnets(const AdmissibleRegion& region, const SamplerOptions& options,
               absl::Span<const ScoredTrial> known);

  // Proposals before the first that a model makes. None when every measured metric is known of as
  // many networks as a cold job would begin with; fewer than there when only costs are unknown, as
  // on a second device; the cold job's number otherwise.
  int initial_samples() const { return initial_samples_; }

  // Networks whose qualities are known and some cost is not, of the frontier that they make with
  // SamplerOptions::cost (or SearchedMetric::value) in the place of what is missing: both ends
  // first, then ever closer between them. All keep the limits that are known, and are admissible.
  // Those in the request are left out. Empty unless a job should begin with them.
  std::vector<Architecture> First(const ProposeRequest& request) const;

 private:
  void FindFirst(const AdmissibleRegion& region, const SamplerOptions& options,
                 absl::Span<const ScoredTrial> known);

  const SearchSpace& space_;
  int initial_samples_;
  std::vector<Architecture> first_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_KNOWN_SUBNETS_H_
