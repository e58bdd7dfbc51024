// SPDX-License-Identifier: Apache-2.0
// `forall table build` and `forall table validate`: lookup tables made by measurement.
#ifndef FORALL_CLI_TABLE_BUILD_H_
#define FORALL_CLI_TABLE_BUILD_H_

#include <cstdint>
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

// "10%", "10 %" or "0.1" as 0.1. InvalidArgument unless it is more than 0 and at most 100 %.
absl::StatusOr<double> ParseBound(absl::string_view text);

// Different random networks of the family at these resolutions, in an order that `count` does not
// change; none of those in `seen`, to which they are added (keys as ArchKey). Fewer where the space
// has not as many.
absl::StatusOr<std::vector<Architecture>> SampleNetworks(const Family& family,
                                                         const std::vector<int32_t>& resolutions,
                                                         int64_t count, uint64_t seed,
                                                         absl::string_view purpose,
                                                         std::set<std::string>* seen);

// Additive and corrected quality side by side, for people.
std::string QualityText(const TableValidation& validation);

}  // namespace forall

#endif  // FORALL_CLI_TABLE_BUILD_H_
