// SPDX-License-Identifier: Apache-2.0
// What clients see of jobs, trials, measurements and workers.
#ifndef FORALL_SEARCH_CONTROLLER_RESOURCE_VIEWS_H_
#define FORALL_SEARCH_CONTROLLER_RESOURCE_VIEWS_H_

#include <string>

#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"
#include "proto/forall/v1/resources.pb.h"
#include "search/controller/job_controller.h"
#include "search/controller/registry.h"

namespace forall {

google::protobuf::Timestamp ToTimestamp(absl::Time time);

v1::SearchJob JobView(const JobController& job);
// With all its measurements, the ones that count first.
v1::Trial TrialView(const Registry& registry, const JobFold& fold, const TrialEntry& trial);
// What is known of the trial without measuring, in the form of a measurement: an exact cost, or a
// prediction, whose fidelity and interval are "predicted" and whose verdict is NOISY for that
// reason.
v1::Measurement KnownView(const JobPlan& plan, const TrialEntry& trial, const MetricSlot& slot);
v1::Measurement MeasurementView(const Registry& registry, const MeasurementRecord& record);
v1::Supernet SupernetView(const SupernetEntry& supernet, int64_t size_bytes);
v1::Device DeviceView(const DeviceRecord& device);
v1::SearchSpace SearchSpaceView(const Family& family);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_RESOURCE_VIEWS_H_
