// SPDX-License-Identifier: Apache-2.0
// Whether a device could be served, as far as this machine alone can tell.
#ifndef FORALL_EVALUATOR_WORKER_DEVICE_CHECK_H_
#define FORALL_EVALUATOR_WORKER_DEVICE_CHECK_H_

#include <string>

#include "absl/status/statusor.h"
#include "evaluator/worker/device_plan.h"

namespace forall {

// What the worker would be, for people: its name, the device, what models run on, what is measured,
// and what could not be looked at. Of this machine a session is created as the plan says; to
// another device nothing is sent, and only what this machine needs for it is looked for: client
// programs, keys, known hosts, converters. Power sensors are read below `sysfs` ("": the machine's
// own).
//
// FailedPrecondition or InvalidArgument naming file and key for what is missing. A provider's
// library may end the process (runtime/execution_provider.h).
absl::StatusOr<std::string> CheckPlan(const DevicePlan& plan, const std::string& sysfs);

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_DEVICE_CHECK_H_
