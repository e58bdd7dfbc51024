// SPDX-License-Identifier: Apache-2.0
// One device that a worker process serves: its lock, its backend, its executor, and the worker that
// the controller knows it by. A process may serve several, each with profile, baseline and
// verdicts of its own.
#ifndef FORALL_EVALUATOR_WORKER_SERVED_DEVICE_H_
#define FORALL_EVALUATOR_WORKER_SERVED_DEVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "evaluator/worker/artifact_client.h"
#include "evaluator/worker/device_plan.h"
#include "evaluator/worker/fleet_client.h"
#include "evaluator/worker/local_task_executor.h"
#include "evaluator/worker/worker.h"
#include "evaluator/worker/worker_flags.h"
#include "latency/device/command_device.h"
#include "latency/measure/environment.h"
#include "latency/measure/host_lock.h"
#include "latency/measure/lone_metrics.h"

namespace forall {

// Ends the process's workers together, those that are not there yet too. Thread-safe.
class WorkerStop {
 public:
  void Stop();
  bool stopped() const;
  // Waits so long, or until Stop.
  void Wait(absl::Duration duration);
  // Drains `worker` at Stop, or at once when that has been. It must be removed before it ends.
  void Add(Worker* worker);
  void Remove(Worker* worker);

 private:
  mutable Mutex mu_;
  CondVar changed_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<Worker*> workers_ ABSL_GUARDED_BY(mu_);
};

// Thread-compatible.
class ServedDevice {
 public:
  // What all devices of a process share. Not owned, must outlive the device.
  struct Process {
    const WorkerFlags* flags = nullptr;
    std::shared_ptr<grpc::Channel> channel;
    ArtifactClient* artifacts = nullptr;
    const EnvironmentProbe* probe = nullptr;
    WorkerStop* stop = nullptr;
  };

  // Goes to the device. Unavailable when it cannot be reached now; other errors are there to stay.
  static absl::StatusOr<std::unique_ptr<ServedDevice>> Open(const Process& process,
                                                            const DevicePlan& plan);

  // Serves until drained: Worker::Run.
  absl::Status Run();

 private:
  ServedDevice(const Process& process, const DevicePlan& plan) : process_(process), plan_(plan) {}

  absl::Status Prepare();
  // Settles environment_, denied_controls_ and what the executor times with.
  absl::Status PrepareElsewhere(LocalTaskExecutor::Options* options, HostLock::Options* lock);
  absl::StatusOr<BackendDescription> Describe() const;
  v1::RegisterWorkerRequest Registration(const BackendDescription& backend,
                                         const std::vector<std::string>& datasets) const;
  void LogStart(const v1::RegisterWorkerRequest& registration) const;

  const Process process_;
  const DevicePlan plan_;
  StopRelay relay_;
  Environment environment_;
  std::vector<std::string> denied_controls_;
  std::unique_ptr<CommandDevice> elsewhere_;
  // Or why there are none.
  absl::StatusOr<std::unique_ptr<EnergySensors>> energy_;
  std::unique_ptr<HostLock> host_lock_;
  std::unique_ptr<LocalTaskExecutor> executor_;
  std::unique_ptr<FleetClient> fleet_;
  std::unique_ptr<Worker> worker_;
};

// The sensors that tell the energy of what the plan's models run on: those of this machine, read
// below `sysfs` ("": its own). Unavailable, with why, where there are none, and for another device.
absl::StatusOr<std::unique_ptr<EnergySensors>> FindEnergySensors(const DevicePlan& plan,
                                                                 const std::string& sysfs);

// Opens and serves the device, for as long as it takes until it can be reached. The errors of Open
// and Run but Unavailable.
absl::Status Serve(const ServedDevice::Process& process, const DevicePlan& plan);

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_SERVED_DEVICE_H_
