// SPDX-License-Identifier: Apache-2.0
// A latency measurement between the messages that ask for it and report it.
#ifndef FORALL_EVALUATOR_WORKER_LATENCY_MESSAGE_H_
#define FORALL_EVALUATOR_WORKER_LATENCY_MESSAGE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "latency/measure/harness.h"
#include "latency/measure/measurement.h"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

// The profile named, "screening" when "", with what `rules` change. InvalidArgument for a name that
// this worker does not know.
absl::StatusOr<Profile> ProfileFromTask(absl::string_view name, const v1::LatencyProfile& rules);

void SetVerdict(Verdict verdict, const std::vector<Reason>& reasons, v1::Verdict* message);

// `reference_sha256` is of the reference network's file, `baseline` what calibrating it gave.
v1::LatencyResult ToMessage(const LatencyResult& result, const std::string& reference_sha256,
                            const Baseline& baseline);

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_LATENCY_MESSAGE_H_
