// SPDX-License-Identifier: Apache-2.0
// One worker, its machine and its latencies, for people and as JSON.
#ifndef FORALL_CLI_INSPECT_FORMAT_H_
#define FORALL_CLI_INSPECT_FORMAT_H_

#include <string>

#include "absl/time/time.h"
#include "nlohmann/json_fwd.hpp"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

// "active", "draining", "drained", "lost", "quarantined" or "unknown".
const char* WorkerStateName(v1::Worker::State state);

// "just now", "40 s ago", "12 min ago", "3 h ago", "5 days ago".
std::string Ago(absl::Time then, absl::Time now);

// Sections with a word each at the left: who it is, its device, what its clocks and temperatures
// are, what it is denied, its baselines and how far the reference has drifted from them, how its
// latencies were judged, and the last of them. At most 100 columns, as long as names are.
std::string InspectionText(const v1::WorkerInspection& inspection, absl::Time now);

// {"worker": ..., "readings": ..., "baselines": [...], "verdicts": [...], "latencies": [...]};
// docs/measurement.md lists the fields. What is not known is null.
nlohmann::ordered_json InspectionJson(const v1::WorkerInspection& inspection);

}  // namespace forall

#endif  // FORALL_CLI_INSPECT_FORMAT_H_
