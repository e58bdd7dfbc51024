// SPDX-License-Identifier: Apache-2.0
// What a job asks of the controller that holds it. Calls only collect: what is written becomes
// durable, and tasks become leasable, when the controller commits the batch.
#ifndef FORALL_SEARCH_CONTROLLER_JOB_HOST_H_
#define FORALL_SEARCH_CONTROLLER_JOB_HOST_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "proto/forall/v1/fleet_service.pb.h"
#include "search/controller/job_fold.h"
#include "search/controller/measurement_index.h"
#include "search/queue/task_needs.h"
#include "search/store/result_store.h"

namespace forall {

// The task whose result a job waits for.
struct AwaitedTask {
  int64_t id = 0;
  bool own = true;  // false: another job's, see JobHost::AddTask
};

// Called under the controller's lock only.
class JobHost {
 public:
  virtual ~JobHost() = default;
  virtual absl::Time Now() = 0;
  // As Clock::SteadyNanos: what durations are taken by.
  virtual int64_t SteadyNanos() = 0;
  virtual int64_t NewTrialId() = 0;
  virtual StoreBatch* batch() = 0;
  virtual const MeasurementIndex& index() const = 0;
  // Workers that may be given work, for sizing what is in flight.
  virtual int ActiveWorkers() const = 0;
  // The one device that serves a latency target; nullopt while none, or more than one, does.
  virtual std::optional<TargetBinding> FindDevice(const LatencyTarget& target) const = 0;
  // What the job may learn from besides its own trials (job_history.h).
  virtual std::vector<KnownSubnet> History(const JobFold& fold) const = 0;
  // Sees to a task of this trial; `wire` is what a worker will get. Where another job has an open
  // one whose result this job could reuse, the job waits for that one: JobController::OnShared says
  // when it is over, however it ended. Otherwise a task of its own is stored.
  virtual AwaitedTask AddTask(int64_t job, int64_t trial_id, TaskKind kind, const v1::Task& wire,
                              const TaskNeeds& needs) = 0;
  // The job does not wait for another's task any more.
  virtual void LeaveTask(int64_t task, int64_t job) = 0;
  // Joins what is known of an accuracy to its measurements, for this trial; `wire` is the task of
  // the whole evaluation, of which nothing may be missing and at least one part must be waiting.
  virtual void JoinAccuracy(int64_t job, int64_t trial_id, const v1::Task& wire) = 0;
  // Stores what follows from a measurement (derived_metric.h); returns its id.
  virtual int64_t DeriveMeasurement(int64_t source, const MetricInfo& metric,
                                    double grid_grams_per_kwh) = 0;
  // An open task of its own is not wanted any more.
  virtual void CancelTask(int64_t task) = 0;
  // A Pump of the job stopped with more to do: another one follows once this round is durable.
  virtual void PumpAgain(int64_t job) = 0;
  // The job's state has changed: which of its tasks may be leased follows from it.
  virtual void JobStateChanged(int64_t job, JobState state) = 0;
};

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_JOB_HOST_H_
