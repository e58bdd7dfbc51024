// SPDX-License-Identifier: Apache-2.0
// A FleetService in this process: a list of tasks, and failures as a test wants them.
#ifndef FORALL_EVALUATOR_WORKER_TESTING_FAKE_FLEET_SERVICE_H_
#define FORALL_EVALUATOR_WORKER_TESTING_FAKE_FLEET_SERVICE_H_

#include <grpcpp/server_context.h>

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "proto/forall/v1/fleet_service.grpc.pb.h"

namespace forall::testing {

// Thread-safe. Heartbeats every 5 ms, so that tests need not wait.
class FakeFleetService final : public v1::FleetService::Service {
 public:
  // What has happened so far.
  struct Seen {
    int registrations = 0;
    int heartbeats = 0;
    int polls = 0;
    int largest_max_tasks = 0;
    std::vector<v1::TaskResult> results;  // acknowledged
    int completion_attempts = 0;
    int leased_with_answers = 0;        // tasks
    std::vector<std::string> released;  // task names
    std::set<std::string> last_heartbeat_tokens;
    std::set<std::string> first_heartbeat_tokens;  // after the last registration
    int readings = 0;                              // heartbeats that had any
    int readings_while_timing = 0;                 // of them, with a lease of a LATENCY task
    std::map<std::string, std::string> last_readings;
    bool drained = false;
    // Of every call that says so: "Method INSTANCE".
    std::set<std::string> instances;
    int protocol_version = 0;
  };

  void AddTask(const std::string& name, v1::Task::Kind kind) {
    MutexLock lock(&mu_);
    v1::Task task;
    task.set_name(name);
    task.set_kind(kind);
    waiting_.push_back(task);
    if (kind == v1::Task::LATENCY) latency_tasks_.insert(name);
    changed_.SignalAll();
  }
  // The next `times` calls of the method fail.
  void FailNext(const std::string& method, grpc::StatusCode code, int times) {
    MutexLock lock(&mu_);
    failures_[method] = {code, times};
  }
  // As if restarted without a memory of the worker: NOT_FOUND until it registers.
  void ForgetWorker() {
    MutexLock lock(&mu_);
    known_ = false;
  }
  // What the controller says that it speaks.
  void SpeakVersions(int least, int most) {
    MutexLock lock(&mu_);
    least_version_ = least;
    most_version_ = most;
  }
  // The next completion of the task gets this code.
  void AnswerCompletion(const std::string& task, grpc::StatusCode code) {
    MutexLock lock(&mu_);
    completion_codes_[task] = code;
  }
  // Heartbeats report the lease of the task as lost.
  void LoseLease(const std::string& task) {
    MutexLock lock(&mu_);
    lost_.insert(absl::StrCat("token-", task));
  }
  void AskToDrain() {
    MutexLock lock(&mu_);
    drain_ = true;
    changed_.SignalAll();
  }
  // Waits until `condition` holds. False after 20 s: the test has failed.
  bool Await(const std::function<bool(const Seen&)>& condition) {
    MutexLock lock(&mu_);
    for (int i = 0; i < 200 && !condition(seen_); ++i) {
      changed_.WaitWithTimeout(&mu_, absl::Milliseconds(100));
    }
    return condition(seen_);
  }
  // Waits until `method` has failed so often as FailNext asked. False after 20 s.
  bool AwaitFailures(const std::string& method, int times) {
    return Await([this, method, times](const Seen&)
                     ABSL_NO_THREAD_SAFETY_ANALYSIS { return failed_[method] >= times; });
  }
  Seen seen() {
    MutexLock lock(&mu_);
    return seen_;
  }

  grpc::Status RegisterWorker(grpc::ServerContext* context,
                              const v1::RegisterWorkerRequest* request,
                              v1::RegisterWorkerResponse* response) override {
    MutexLock lock(&mu_);
    if (const grpc::Status failure = TakeFailure("Register"); !failure.ok()) return failure;
    ++seen_.registrations;
    seen_.instances.insert("Register " + request->instance());
    seen_.protocol_version = request->protocol_version();
    response->set_min_protocol_version(least_version_);
    response->set_max_protocol_version(most_version_);
    known_ = true;
    first_heartbeat_ = true;
    response->mutable_worker()->set_name(absl::StrCat("workers/", request->worker_id()));
    response->mutable_heartbeat_interval()->set_nanos(5000000);
    response->set_epoch(1);
    changed_.SignalAll();
    return grpc::Status::OK;
  }

  grpc::Status LeaseTasks(grpc::ServerContext* context, const v1::LeaseTasksRequest* request,
                          v1::LeaseTasksResponse* response) override {
    MutexLock lock(&mu_);
    ++seen_.polls;
    seen_.instances.insert("Lease " + request->instance());
    seen_.largest_max_tasks = std::max(seen_.largest_max_tasks, request->max_tasks());
    changed_.SignalAll();
    if (const grpc::Status failure = TakeFailure("Lease"); !failure.ok()) return failure;
    if (!known_) return {grpc::StatusCode::NOT_FOUND, "register first"};
    while (waiting_.empty() && !drain_ && !context->IsCancelled()) {
      changed_.WaitWithTimeout(&mu_, absl::Milliseconds(5));
    }
    response->set_drain(drain_);
    if (!context->IsCancelled()) HandOut(request->max_tasks(), response);
    return grpc::Status::OK;
  }

  grpc::Status Heartbeat(grpc::ServerContext* context, const v1::HeartbeatRequest* request,
                         v1::HeartbeatResponse* response) override {
    MutexLock lock(&mu_);
    if (const grpc::Status failure = TakeFailure("Heartbeat"); !failure.ok()) return failure;
    if (!known_) return {grpc::StatusCode::NOT_FOUND, "register first"};
    ++seen_.heartbeats;
    seen_.instances.insert("Heartbeat " + request->instance());
    seen_.last_heartbeat_tokens.clear();
    for (const v1::HeldLease& lease : request->leases()) {
      seen_.last_heartbeat_tokens.insert(lease.token());
      if (lost_.count(lease.token()) > 0) response->add_lost_tokens(lease.token());
    }
    if (first_heartbeat_) seen_.first_heartbeat_tokens = seen_.last_heartbeat_tokens;
    first_heartbeat_ = false;
    NoteReadings(*request);
    response->set_drain(drain_);
    changed_.SignalAll();
    return grpc::Status::OK;
  }

  grpc::Status CompleteTasks(grpc::ServerContext* context, const v1::CompleteTasksRequest* request,
                             v1::CompleteTasksResponse* response) override {
    MutexLock lock(&mu_);
    ++seen_.completion_attempts;
    seen_.instances.insert("Complete " + request->instance());
    changed_.SignalAll();
    if (const grpc::Status failure = TakeFailure("Complete"); !failure.ok()) return failure;
    if (!known_) return {grpc::StatusCode::NOT_FOUND, "register first"};
    for (const v1::TaskResult& result : request->results()) {
      v1::TaskCompletion* const completion = response->add_completions();
      completion->set_task(result.task());
      if (const auto code = completion_codes_.find(result.task());
          code != completion_codes_.end()) {
        completion->set_code(code->second);
      } else {
        seen_.results.push_back(result);
      }
    }
    if (request->max_next_tasks() > 0) {
      HandOut(request->max_next_tasks(), response->mutable_next());
      seen_.leased_with_answers += response->next().tasks_size();
    }
    return grpc::Status::OK;
  }

  grpc::Status ReleaseTask(grpc::ServerContext* context, const v1::ReleaseTaskRequest* request,
                           v1::ReleaseTaskResponse* response) override {
    MutexLock lock(&mu_);
    seen_.released.push_back(request->task());
    seen_.instances.insert("Release " + request->instance());
    changed_.SignalAll();
    return grpc::Status::OK;
  }

  grpc::Status DrainWorker(grpc::ServerContext* context, const v1::DrainWorkerRequest* request,
                           v1::Worker* response) override {
    MutexLock lock(&mu_);
    seen_.drained = true;
    seen_.instances.insert("Drain " + request->instance());
    changed_.SignalAll();
    return grpc::Status::OK;
  }

 private:
  struct Failure {
    grpc::StatusCode code;
    int times;
  };

  void HandOut(int at_most, v1::LeaseTasksResponse* response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    while (!waiting_.empty() && response->tasks_size() < at_most) {
      v1::LeasedTask* const leased = response->add_tasks();
      *leased->mutable_task() = waiting_.front();
      leased->mutable_lease()->set_token(absl::StrCat("token-", waiting_.front().name()));
      waiting_.pop_front();
    }
  }

  void NoteReadings(const v1::HeartbeatRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (request.readings().empty()) return;
    ++seen_.readings;
    seen_.last_readings = {request.readings().begin(), request.readings().end()};
    for (const v1::HeldLease& lease : request.leases()) {
      seen_.readings_while_timing += latency_tasks_.count(lease.task()) > 0 ? 1 : 0;
    }
  }

  grpc::Status TakeFailure(const std::string& method) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto found = failures_.find(method);
    if (found == failures_.end() || found->second.times == 0) return grpc::Status::OK;
    --found->second.times;
    ++failed_[method];
    changed_.SignalAll();
    return {found->second.code, "as the test wants it"};
  }

  Mutex mu_;
  CondVar changed_;
  std::deque<v1::Task> waiting_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, Failure> failures_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, int> failed_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, grpc::StatusCode> completion_codes_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> lost_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> latency_tasks_ ABSL_GUARDED_BY(mu_);
  bool known_ ABSL_GUARDED_BY(mu_) = false;
  bool first_heartbeat_ ABSL_GUARDED_BY(mu_) = false;
  bool drain_ ABSL_GUARDED_BY(mu_) = false;
  int least_version_ ABSL_GUARDED_BY(mu_) = 0;
  int most_version_ ABSL_GUARDED_BY(mu_) = 0;
  Seen seen_ ABSL_GUARDED_BY(mu_);
};

}  // namespace forall::testing

#endif  // FORALL_EVALUATOR_WORKER_TESTING_FAKE_FLEET_SERVICE_H_
