// SPDX-License-Identifier: Apache-2.0
// What does a task's work; the worker around it only leases and reports.
#ifndef FORALL_EVALUATOR_WORKER_TASK_EXECUTOR_H_
#define FORALL_EVALUATOR_WORKER_TASK_EXECUTOR_H_

#include <functional>
#include <utility>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "evaluator/worker/backoff.h"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

// Where something that was made before any task asks what may stop the task at hand: a device's
// program that builds an engine for minutes. Thread-safe.
class StopRelay {
 public:
  // Names what stops the task for as long as it lives. `relay` may be nullptr.
  class Scope {
   public:
    Scope(StopRelay* relay, std::function<bool()> stopped) : relay_(relay) {
      if (relay_ != nullptr) relay_->Set(std::move(stopped));
    }
    ~Scope() {
      if (relay_ != nullptr) relay_->Set({});
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    StopRelay* const relay_;
  };

  bool stopped() const {
    std::function<bool()> stopped;
    {
      MutexLock lock(&mu_);
      stopped = stopped_;
    }
    return stopped && stopped();
  }

 private:
  void Set(std::function<bool()> stopped) {
    MutexLock lock(&mu_);
    stopped_ = std::move(stopped);
  }

  mutable Mutex mu_;
  std::function<bool()> stopped_ ABSL_GUARDED_BY(mu_);
};

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
