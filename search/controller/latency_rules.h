// SPDX-License-Identifier: Apache-2.0
// What a job changes of how its latencies are measured. The rules themselves are the worker's
// (docs/measurement.md); here is what the controller must know of them.
#ifndef FORALL_SEARCH_CONTROLLER_LATENCY_RULES_H_
#define FORALL_SEARCH_CONTROLLER_LATENCY_RULES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "proto/forall/v1/resources.pb.h"

namespace forall {

// InvalidArgument naming a field under `path` that is out of the range that
// proto/forall/v1/resources.proto gives. Those of `final` latencies may not be less careful than
// the profile of that name, since other jobs reuse them.
absl::Status CheckLatencyRules(const std::string& path, const v1::LatencyProfile& rules,
                               bool final);

// How many timed runs of the subnet a latency has at least that was measured by these rules; 0 when
// there are none, as in a job that leaves them to the fidelity's profile.
int64_t LeastLatencyRuns(const v1::LatencyProfile& rules, const std::string& fidelity);

// InvalidArgument at `field` when the worker's device is timed at another batch size only
// (Device.properties: only_batch).
absl::Status CheckBatch(const std::string& field, const v1::Worker& worker, int32_t batch);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_LATENCY_RULES_H_
