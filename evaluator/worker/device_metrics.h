// SPDX-License-Identifier: Apache-2.0
// What a task wants to know of a device beside the median latency.
#ifndef FORALL_EVALUATOR_WORKER_DEVICE_METRICS_H_
#define FORALL_EVALUATOR_WORKER_DEVICE_METRICS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "latency/measure/lone_metrics.h"
#include "latency/measure/measurement.h"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

// Registry ids of a LATENCY task that somebody has to measure: what follows from others is left
// out. FailedPrecondition for one that this build does not know.
absl::StatusOr<std::vector<std::string>> MetricsToMeasure(
    const google::protobuf::RepeatedPtrField<std::string>& wanted);

// The profile with the runs that the wanted percentiles need.
Profile ProfileFor(const std::vector<std::string>& metrics, const Profile& profile);

// A percentile of a measurement that is not rejected. InvalidArgument, with how many runs it needs,
// when there were too few: the network is too slow here for it, and a number is not made up.
absl::StatusOr<v1::MeasuredValue> MeasuredPercentile(const std::string& metric,
                                                     const LatencyResult& latency);

// What was measured of a model alone.
v1::MeasuredValue MeasuredAlone(const std::string& metric, const LoneMetric& measured);

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_DEVICE_METRICS_H_
