// SPDX-License-Identifier: Apache-2.0
// What a status means for a task: whether it is worth trying again, and where.
#ifndef FORALL_EVALUATOR_WORKER_TASK_FAILURE_H_
#define FORALL_EVALUATOR_WORKER_TASK_FAILURE_H_

#include "absl/status/status.h"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

// InvalidArgument, OutOfRange, Unimplemented: DETERMINISTIC. ResourceExhausted: OUT_OF_MEMORY.
// NotFound, FailedPrecondition, PermissionDenied, DataLoss: WORKER_UNABLE. Anything else:
// TRANSIENT. `status` is not OK.
v1::TaskFailure ToTaskFailure(const absl::Status& status);

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_TASK_FAILURE_H_
