// SPDX-License-Identifier: Apache-2.0
// Searches on a predictor and additive costs, without a device: what the inner search finds, and
// how fast.
#ifndef FORALL_BENCH_SEARCH_BENCH_H_
#define FORALL_BENCH_SEARCH_BENCH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "latency/table/latency_table.h"

namespace forall {

struct SearchBenchOptions {
  // Folders with the published lookup tables of a device, or files of forall's own format.
  std::vector<std::string> tables;
  // An accuracy predictor: a published checkpoint, or forall's own file.
  std::string predictor;
  std::vector<double> bounds;
  std::string objective = "latency";  // or "macs"; bounds are then in millions
  std::string space = "ofa_mbv3_w1.2";
  // Of a published checkpoint: the order of its features (FeatureOrder).
  std::string features = "kernel-expand-resolution";
  // Of published tables, which do not say it.
  std::string unit = "ms";
  std::string device;  // empty: the folder's name
  int64_t budget = 280000;
  uint64_t seed = 1;
  // When the program began, on Clock::Real()->SteadyNanos().
  int64_t started_ns = 0;
};

// One of `tables`, read as --unit and --device say. Errors name the flag or the file.
absl::StatusOr<LatencyTable> ReadTables(const std::string& path, const SearchBenchOptions& options);

// Prints one line per bound, in the order asked for: "bound", "predicted_accuracy" (a share, never
// a measurement), "cost", "architecture", and where the cost comes from; and a last one with
// "seconds" since the program began, "candidates" that were predicted, and how many a second that
// makes. A bound below the cheapest network gets "nearest_feasible_bound" instead of an answer.
// InvalidArgument naming the flag for what is missing or wrong.
absl::Status RunOfaSearch(const SearchBenchOptions& options);

}  // namespace forall

#endif  // FORALL_BENCH_SEARCH_BENCH_H_
