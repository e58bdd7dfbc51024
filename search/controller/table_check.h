// SPDX-License-Identifier: Apache-2.0
// What the latency tables of a job say of its constraints before anything is measured, and how far
// they can be believed: as far as what was measured on the same device bears them out.
#ifndef FORALL_SEARCH_CONTROLLER_TABLE_CHECK_H_
#define FORALL_SEARCH_CONTROLLER_TABLE_CHECK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "search/controller/job_plan.h"
#include "search/controller/registry.h"

namespace forall {

// Between how many times what a table says a latency must be expected to lie.
struct TableError {
  int64_t subnets = 0;  // that it was learned from
  double low = 1;
  double high = 1;
};

// From measured latencies, each divided by the table's: three standard deviations of one more
// logarithm around their mean. nullopt for fewer than 8, which are no validation.
std::optional<TableError> ValidateTable(absl::Span<const double> ratios);

// The warnings of a job that can be accepted: tables that were found not good when they were
// measured (docs/lookup-tables.md), options that tables leave out, and bounds on a
// latency that its device's table says cannot be met, within the table's error or with nothing
// measured to tell it. FailedPrecondition, with the nearest bound that can be met, for a bound on a
// predicted latency that no subnet keeps (exactly), and for one on a measured latency that is
// beyond the table's validated error.
absl::StatusOr<std::vector<std::string>> CheckTables(const Registry& registry, const JobPlan& plan,
                                                     const std::string& supernet_sha256);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_TABLE_CHECK_H_
