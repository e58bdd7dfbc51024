// SPDX-License-Identifier: Apache-2.0
// `forall table build` and `forall table validate`: lookup tables made by measurement.
#ifndef FORALL_CLI_TABLE_BUILD_H_
#define FORALL_CLI_TABLE_BUILD_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/command.h"
#include "latency/table/latency_table.h"
#include "latency/table/table_fit.h"
#include "space/family.h"

namespace forall {

void AddTableBuild(CLI::App* table, CommandContext* context);
void AddTableValidate(CLI::App* table, CommandContext* context);

// What and how to measure.
struct MeasureOptions {
  std::string device;           // as forall workers lists it, or class:LABEL
  std::string runtime_profile;  // hash of a RuntimeProfile; "" for that of the first worker
  std::string profile;          // "screening", "standard" or "final"
  std::string recipe;
  int32_t batch = 0;
  uint64_t seed = 1;
  std::string bound = "10%";
};

// For `validate`: what is left out ("", 0) becomes what the table is of; device and batch also of
// an imported table, otherwise "standard" and "fp32" where the table does not say it. How long to
// measure may differ from the table. InvalidArgument naming the flag that contradicts the table.
absl::Status TakeFromTable(const LatencyTable& table, MeasureOptions* options);

// ArchKeys of the networks that the table was validated with and fitted to; none of an imported
// one. InvalidArgument for a seed or a number of networks that `build` does not write.
absl::StatusOr<std::set<std::string>> NetworksOf(const LatencyTable& table, const Family& family);

// FailedPrecondition, saying what to ask for, when the space did not yield as many different
// networks as a build needs; `fit_wanted` 0: no correction.
absl::Status CheckSampled(const Family& family, int64_t validation, int64_t fit,
                          int64_t fit_wanted);

// FitCorrection, or nullopt, with `why_not`, when too few networks could be timed: the rows are
// worth a table all the same.
absl::StatusOr<std::optional<TableCorrection>> FitIfEnough(const LatencyTable& table,
                                                           const std::vector<TimedNetwork>& timed,
                                                           std::string* why_not);

// "10%", "10 %" or "0.1" as 0.1. InvalidArgument unless it is more than 0 and at most 100 %.
absl::StatusOr<double> ParseBound(absl::string_view text);

// Different random networks of the family at these resolutions, in an order that `count` does not
// change; none of those in `seen`, to which they are added (keys as ArchKey). Fewer where the space
// has not as many. InvalidArgument for no resolution, or one that the family has not.
absl::StatusOr<std::vector<Architecture>> SampleNetworks(const Family& family,
                                                         const std::vector<int32_t>& resolutions,
                                                         int64_t count, uint64_t seed,
                                                         absl::string_view purpose,
                                                         std::set<std::string>* seen);

// Additive and corrected quality side by side, for people.
std::string QualityText(const TableValidation& validation);

}  // namespace forall

#endif  // FORALL_CLI_TABLE_BUILD_H_
