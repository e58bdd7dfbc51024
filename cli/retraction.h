// SPDX-License-Identifier: Apache-2.0
// What `forall measurements retract` reads and prints.
#ifndef FORALL_CLI_RETRACTION_H_
#define FORALL_CLI_RETRACTION_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

// "2026-11-29T14:30:00Z" (or with another zone), "2026-11-29" (its beginning, UTC), "90m", "2h",
// "3d" (so long before `now`). InvalidArgument naming `flag`.
absl::StatusOr<absl::Time> ParseMoment(absl::string_view text, absl::Time now,
                                       absl::string_view flag);

// What a retraction does, or did: a line per job, and one that sums up. In at most `width` columns
// (0: as many as it takes).
std::string RetractionText(const v1::RetractMeasurementsResponse& response, bool done,
                           size_t width = 0);

}  // namespace forall

#endif  // FORALL_CLI_RETRACTION_H_
