// SPDX-License-Identifier: Apache-2.0
// What does a task's work; the worker around it only leases and reports.
#ifndef FORALL_EVALUATOR_WORKER_TASK_EXECUTOR_H_
#define FORALL_EVALUATOR_WORKER_TASK_EXECUTOR_H_

#include "absl/status/statusor.h"
#include "evaluator/worker/backoff.h"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

// Thread-safe.
class TaskExecutor {
 public:
  virtual ~TaskExecutor() = default;

  // Does the work on at most `threads` cores. A result has its outcome set, be it a TaskFailure,
  // and its times; task name and lease are the caller's to add. The only error is Cancelled: `stop`
  // said so, and there is nothing to report.
  virtual absl::StatusOr<v1::TaskResult> Execute(const v1::Task& task, int threads,
                                                 const StopSignal& stop) = 0;
};

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_TASK_EXECUTOR_H_
