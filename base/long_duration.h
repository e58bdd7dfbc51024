// SPDX-License-Identifier: Apache-2.0
// How long, as people type it: absl's durations do not know days.
#ifndef FORALL_BASE_LONG_DURATION_H_
#define FORALL_BASE_LONG_DURATION_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace forall {

// "90d" (whole days of 24 hours), or what absl::ParseDuration reads, "36h", "1h30m"; from 0 up to
// 100,000 days. nullopt for anything else.
std::optional<absl::Duration> ParseLongDuration(absl::string_view text);
// The same the other way round: "90d" for whole days, else as absl formats it.
std::string LongDurationText(absl::Duration duration);

}  // namespace forall

#endif  // FORALL_BASE_LONG_DURATION_H_
