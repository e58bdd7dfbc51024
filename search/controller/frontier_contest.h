// SPDX-License-Identifier: Apache-2.0
// Which members of a frontier some other trial could replace. Every member is compared with every
// trial, by rules that cost a look at two bitmaps; nearly all trials are ruled out before by a few
// numbers that lie side by side.
#ifndef FORALL_SEARCH_CONTROLLER_FRONTIER_CONTEST_H_
#define FORALL_SEARCH_CONTROLLER_FRONTIER_CONTEST_H_

#include <cstddef>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "search/controller/measurement_index.h"
#include "search/controller/metric_reader.h"

namespace forall {

// Trials that have a value for every objective of a query, and an entry per objective of what each
// could turn out to be at best, by its interval or by a paired test.
struct FrontierCandidates {
  std::vector<TrialRef> trials;
  std::vector<float> hopes;  // row-major, lower is better; rounded down
};

// What a query compares by.
struct FrontierObjectives {
  std::vector<MetricReader> readers;
  std::vector<bool> maximize;
  size_t size() const { return readers.size(); }
};

// An entry of FrontierCandidates::hopes.
float Hope(const Reading& reading, bool maximize);

// Of each of `members` (places in `candidates`) whether some other candidate could take its place:
// in no objective the member is established to be better, and in one the other could be. For
// maximised objectives whose evidence kept its bits over as many images "established" is the exact
// paired test at 2.5 %, otherwise it is that the intervals do not meet. A trial that could is asked
// for by `may_replace`; where that says no, it counts for nothing. Rivals are compared `block_size`
// (positive) at a time, which changes no answer.
//
// O(candidates x objectives) for the many that can replace nobody.
std::vector<bool> FindReplaceable(const MeasurementIndex& index,
                                  const FrontierObjectives& objectives,
                                  const FrontierCandidates& candidates,
                                  absl::Span<const size_t> members, size_t block_size,
                                  absl::FunctionRef<bool(TrialRef)> may_replace);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_FRONTIER_CONTEST_H_
