// SPDX-License-Identifier: Apache-2.0
// A table against whole networks: how good its sums are, and what a correction makes of them.
//
// A layer timed alone is entered and left as a network is, which costs time that layers within a
// network do not take, and meets other caches. The correction learns that from whole networks; what
// comes out is a table again, so that everything that exploits sums goes on to (docs/adr/0009).
#ifndef FORALL_LATENCY_TABLE_TABLE_FIT_H_
#define FORALL_LATENCY_TABLE_TABLE_FIT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "latency/table/latency_table.h"

namespace forall {

// A whole network that was timed.
struct TimedNetwork {
  std::vector<std::string> keys;  // as TableKeys
  int32_t resolution = 0;
  double measured_ms = 0;
};

inline constexpr int64_t kLeastNetworksToFit = 10;
inline constexpr int64_t kMostNetworksToFit = 1000;
// A table is good when at least this share of the networks is within the bound.
inline constexpr double kGoodShare = 0.95;

// The model: a network takes  c + sum over its rows of (s + e_k) m_k + (o for each block)  with m
// the measured rows, one scale s, one offset o and a deviation e of each key that all resolutions
// share. Errors are relative to what was measured, and Gaussian, as are the priors: s around 1
// within 0.3, o around 0 within half an average layer, c around 0 within a tenth of the mean
// network, e around 0. How far e spreads and how far networks scatter are those of a grid that make
// what was measured most likely. With no networks at all it would be the measured rows.
//
// The result is a table: the offset goes into each block's row, and c into the rows of stem and
// head, which every network has once, in proportion. No row falls below a tenth of what it was;
// what does not fit into them is the intercept.
//
// InvalidArgument for fewer than kLeastNetworksToFit or more than kMostNetworksToFit networks, one
// that is not positive; NotFound as LatencyTable::AdditiveSum. Deterministic.
absl::StatusOr<TableCorrection> FitCorrection(const LatencyTable& table,
                                              absl::Span<const TimedNetwork> networks);

// Additive sums, and corrected ones where there is a correction. `bound` is 0.1 for 10 %.
// InvalidArgument without networks, or for one that is not positive; NotFound as above.
absl::StatusOr<TableValidation> JudgeTable(const LatencyTable& table,
                                           absl::Span<const TimedNetwork> networks, double bound,
                                           uint64_t seed);

}  // namespace forall

#endif  // FORALL_LATENCY_TABLE_TABLE_FIT_H_
