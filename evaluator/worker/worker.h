// SPDX-License-Identifier: Apache-2.0
// The worker's loop: register, lease, execute, report, until it is drained.
//
// The controller may go away at any moment. A result that is there is kept and sent again until it
// is acknowledged; held leases are listed in every heartbeat, so that a restarted controller gives
// them back; a controller that does not know the worker gets a new registration. A lease that is
// lost stops its work, and nothing is reported for it.
//
// A controller that refuses the worker for now (another process has its id, another worker its
// device, other protocol versions) is asked again, with backoff, until it takes it or the worker is
// drained: what is in the way may end. When another process has taken the worker's place while this
// one was not heard of, all its leases are lost.
//
// Two threads: the one that calls Run works, the other sends heartbeats and registers.
#ifndef FORALL_EVALUATOR_WORKER_WORKER_H_
#define FORALL_EVALUATOR_WORKER_WORKER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "evaluator/worker/backoff.h"
#include "evaluator/worker/fleet_client.h"
#include "evaluator/worker/lease_book.h"
#include "evaluator/worker/task_executor.h"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

// What this build speaks (RegisterWorkerRequest.protocol_version).
inline constexpr int kProtocolVersion = 2;

// Thread-safe: Drain may be called from any thread while another is in Run.
class Worker {
 public:
  struct Options {
    FleetClient* fleet = nullptr;      // not owned, must outlive
    TaskExecutor* executor = nullptr;  // not owned, must outlive
    Clock* clock = Clock::Real();
    // The protocol version is filled in.
    v1::RegisterWorkerRequest registration;
    // For messages.
    std::string controller;
    // Cores that tasks may use. Exports that were leased together run side by side with a share
    // each, since calibration uses one core well and several badly; other tasks run one by one.
    int threads = 1;
    absl::Duration lease_wait = absl::Seconds(20);
    // A drained worker finishes what it has begun, but gives it back after so long.
    absl::Duration drain_grace = absl::Seconds(25);
    Backoff::Options backoff = {};
    // What the machine says of itself, for heartbeats: called on their thread, so often at most,
    // after every registration, and never while a LATENCY task is held. May be empty.
    std::function<std::map<std::string, std::string>()> read_machine = {};
    absl::Duration reading_period = absl::Minutes(1);
  };

  explicit Worker(Options options);

  // Returns OK once drained, by Drain or by the controller, with no lease left. InvalidArgument and
  // other errors that trying again will not mend: the controller refuses the registration.
  absl::Status Run();

  // Takes no new work; what has begun is finished, the rest given back. Idempotent.
  void Drain();

 private:
  using Lease = std::shared_ptr<LeaseBook::Held>;

  // How the controller answers.
  enum class Connection { kFine, kUnreachable, kRefused };

  // Registration and heartbeats (worker_heartbeat.cc).
  void HeartbeatLoop();
  absl::Status Register();
  absl::Status Heartbeat();
  void AddReadings(v1::HeartbeatRequest* request);
  void NoteConnection(const absl::Status& status);
  // The worker is another process now.
  void NoteTakeover(const absl::Status& status);
  bool registered() const;
  // After NotFound of a call that was made in registration `generation`: returns once the worker
  // is registered anew, or `stop` says so.
  void AwaitRegistration(int64_t generation, const StopSignal& stop);
  int64_t generation() const;

  // What came with the last answer or is leased now; nothing when the worker leaves.
  std::vector<Lease> LeaseTasks();
  std::vector<Lease> Accept(const v1::LeaseTasksResponse& response);
  int WantedTasks() const;
  void RunBatch(const std::vector<Lease>& leases);
  // `last` of what the worker holds: its report asks for more.
  void RunTask(const Lease& lease, int threads, bool last);
  // Sends the result until the controller has it or does not want it.
  void Report(const Lease& lease, v1::TaskResult result, bool last);
  void GiveBack(const Lease& lease);

  // Drained, or refused by the controller.
  bool leaving() const;
  // Leaving, and the grace is over.
  bool OutOfTime() const;
  // For work that ends with the lease, or when a drain has lasted too long.
  StopSignal StopFor(const Lease& lease);
  // For waiting while there is no work.
  StopSignal StopForLeaving();
  // Wakes WaitUnless. To be called after every change that a StopSignal or a wait may depend on.
  void NoteChange() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WaitUnless(const std::function<bool()>& condition, absl::Duration at_most);

  const Options options_;
  LeaseBook leases_;
  std::vector<Lease> next_;      // Run's thread alone
  int64_t next_reading_ns_ = 0;  // the heartbeats' thread alone

  mutable Mutex mu_;
  CondVar changed_;
  int64_t changes_ ABSL_GUARDED_BY(mu_) = 0;
  std::string name_ ABSL_GUARDED_BY(mu_);
  absl::Duration heartbeat_interval_ ABSL_GUARDED_BY(mu_) = absl::Seconds(1);
  int64_t generation_ ABSL_GUARDED_BY(mu_) = 0;  // registrations so far
  bool unregistered_ ABSL_GUARDED_BY(mu_) = true;
  absl::Status refusal_ ABSL_GUARDED_BY(mu_);
  Connection connection_ ABSL_GUARDED_BY(mu_) = Connection::kFine;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  int64_t drain_deadline_ns_ ABSL_GUARDED_BY(mu_) = 0;
  double mean_task_seconds_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_WORKER_H_
