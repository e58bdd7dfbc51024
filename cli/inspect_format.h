// SPDX-License-Identifier: Apache-2.0
// One worker, its machine and its latencies, for people and as JSON.
#ifndef FORALL_CLI_INSPECT_FORMAT_H_
#define FORALL_CLI_INSPECT_FORMAT_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "nlohmann/json_fwd.hpp"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

// "active", "draining", "drained", "lost", "quarantined" or "unknown".
const char* WorkerStateName(v1::Worker::State state);

// "just now", "40 s ago", "12 min ago", "3 h ago", "5 days ago".
std::string Ago(absl::Time then, absl::Time now);

// A line per worker, in at most `width` columns (0: as many as it takes).
std::string WorkersTable(absl::Span<const v1::Worker> workers, absl::Time now, size_t width);

// Of a trial's measurements those that `worker` (workers/*) made on a device beside latency_ms:
// percentiles, throughput, memory, energy, carbon.
std::vector<v1::Measurement> MeasuredBeside(const v1::Trial& trial, const std::string& worker);

// Sections with a word each at the left: who it is, its device, what that measures, what its clocks
// and temperatures are, what it is denied, its baselines and how far the reference has drifted from
// them, how its latencies were judged, the last of them, and `beside`, what else was measured of
// the same subnets. At most 100 columns.
std::string InspectionText(const v1::WorkerInspection& inspection,
                           absl::Span<const v1::Measurement> beside, absl::Time now);

// {"worker": ..., "readings": ..., "baselines": [...], "verdicts": [...], "latencies": [...],
// "beside": [...]}; docs/measurement.md lists the fields. What is not known is null.
nlohmann::ordered_json InspectionJson(const v1::WorkerInspection& inspection,
                                      absl::Span<const v1::Measurement> beside);

}  // namespace forall

#endif  // FORALL_CLI_INSPECT_FORMAT_H_
