// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/worker.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/thread.h"

namespace forall {
namespace {

// Several tasks keep all cores busy and save calls; but what one worker holds another cannot have,
// so of long tasks it leases no more than it can begin at once.
constexpr int kMaxLeases = 4;
constexpr double kLongTaskSeconds = 5;

absl::Duration FromMessage(const google::protobuf::Duration& message) {
  return absl::Seconds(message.seconds()) + absl::Nanoseconds(message.nanos());
}

absl::Status ToStatus(const v1::TaskCompletion& completion) {
  return absl::Status(static_cast<absl::StatusCode>(completion.code()), completion.message());
}

Worker::Options WithProtocol(Worker::Options options) {
  options.registration.set_protocol_version(kProtocolVersion);
  return options;
}

std::string OutcomeText(const v1::TaskResult& result) {
  if (!result.has_failure()) return "ok";
  return absl::StrCat(v1::TaskFailure::Reason_Name(result.failure().reason()), " \"",
                      result.failure().message(), "\"");
}

}  // namespace

Worker::Worker(Options options) : options_(WithProtocol(std::move(options))) {}

absl::Status Worker::Run() {
  Thread heartbeat("heartbeat", [this] { HeartbeatLoop(); });
  {
    MutexLock lock(&mu_);
    while (generation_ == 0 && refusal_.ok() && !draining_) changed_.Wait(&mu_);
  }
  while (!leaving()) RunBatch(LeaseTasks());
  RunBatch(std::exchange(next_, {}));  // gives them back

  std::string name;
  {
    MutexLock lock(&mu_);
    finished_ = true;
    NoteChange();
  }
  heartbeat.Join();
  {
    MutexLock lock(&mu_);
    FORALL_RETURN_IF_ERROR(refusal_);
    // Where it is refused, another may be this worker by now.
    if (connection_ != Connection::kRefused) name = name_;
  }
  // So that nobody waits for this worker; without the controller it will be missed soon enough.
  if (!name.empty()) {
    options_.fleet->Drain(name, options_.registration.instance()).IgnoreError();
  }
  return absl::OkStatus();
}

void Worker::Drain() {
  {
    MutexLock lock(&mu_);
    if (draining_) return;
    draining_ = true;
    drain_deadline_ns_ =
        options_.clock->SteadyNanos() + absl::ToInt64Nanoseconds(options_.drain_grace);
    NoteChange();
  }
  FORALL_LOG(INFO) << "draining: finishing what has begun, taking nothing new";
  options_.fleet->InterruptLease();
}

int Worker::WantedTasks() const {
  MutexLock lock(&mu_);
  if (mean_task_seconds_ > kLongTaskSeconds) return std::clamp(options_.threads, 1, kMaxLeases);
  return std::clamp(2 * options_.threads, 1, kMaxLeases);
}

std::vector<Worker::Lease> Worker::Accept(const v1::LeaseTasksResponse& response) {
  std::vector<Lease> leases;
  for (const v1::LeasedTask& leased : response.tasks()) leases.push_back(leases_.Add(leased));
  if (response.drain()) Drain();
  return leases;
}

std::vector<Worker::Lease> Worker::LeaseTasks() {
  if (!next_.empty()) return std::exchange(next_, {});
  const StopSignal stop = StopForLeaving();
  Backoff backoff(options_.backoff);
  v1::LeaseTasksRequest request;
  request.set_max_tasks(WantedTasks());
  request.mutable_wait()->set_seconds(absl::ToInt64Seconds(options_.lease_wait));
  request.set_instance(options_.registration.instance());
  bool told_quarantine = false;
  while (!stop.stopped()) {
    const int64_t generation = this->generation();
    if (!registered()) {
      AwaitRegistration(generation, stop);
      continue;
    }
    {
      MutexLock lock(&mu_);
      request.set_worker(name_);
    }
    const absl::StatusOr<v1::LeaseTasksResponse> response = options_.fleet->Lease(request);
    if (response.ok()) {
      std::vector<Lease> leases = Accept(*response);
      if (!leases.empty()) return leases;
      const absl::Duration delay = FromMessage(response->retry_delay());
      if (delay > absl::ZeroDuration()) stop.wait(delay);
      continue;
    }
    if (absl::IsNotFound(response.status())) {
      AwaitRegistration(generation, stop);
      continue;
    }
    if (absl::IsFailedPrecondition(response.status()) && !told_quarantine) {
      told_quarantine = true;
      FORALL_LOG(ERROR) << "the controller gives this worker no work: "
                        << response.status().message();
    }
    stop.wait(backoff.Next());
  }
  return {};
}

void Worker::RunBatch(const std::vector<Lease>& leases) {
  std::vector<Lease> exports;
  std::vector<Lease> others;
  for (const Lease& lease : leases) {
    (lease->task.kind() == v1::Task::EXPORT ? exports : others).push_back(lease);
  }
  const int threads = std::max(1, options_.threads);
  if (!exports.empty()) {
    const int lanes = std::min(static_cast<int>(exports.size()), threads);
    std::atomic<size_t> next{0};
    const auto lane = [&] {
      for (size_t i = next++; i < exports.size(); i = next++) {
        RunTask(exports[i], threads / lanes, false);
      }
    };
    std::vector<Thread> other_lanes;
    for (int i = 1; i < lanes; ++i) other_lanes.emplace_back("export", lane);
    lane();
  }
  for (const Lease& lease : others) RunTask(lease, threads, lease == others.back());
}

void Worker::RunTask(const Lease& lease, int threads, bool last) {
  if (lease->lost) return;
  if (leaving()) return GiveBack(lease);
  const int64_t start_ns = options_.clock->SteadyNanos();
  absl::StatusOr<v1::TaskResult> result =
      options_.executor->Execute(lease->task, threads, StopFor(lease));
  const double seconds = static_cast<double>(options_.clock->SteadyNanos() - start_ns) * 1e-9;
  FORALL_LOG(INFO) << "task " << (result.ok() ? OutcomeText(*result) : "stopped")
                   << " task=" << lease->task.name()
                   << " kind=" << v1::Task::Kind_Name(lease->task.kind())
                   << " trial=" << lease->task.trial() << " seconds=" << seconds;
  if (lease->lost) return;
  if (!result.ok()) return GiveBack(lease);
  {
    MutexLock lock(&mu_);
    mean_task_seconds_ =
        mean_task_seconds_ == 0 ? seconds : 0.8 * mean_task_seconds_ + 0.2 * seconds;
  }
  Report(lease, *std::move(result), last);
}

void Worker::Report(const Lease& lease, v1::TaskResult result, bool last) {
  const StopSignal stop = StopFor(lease);
  Backoff backoff(options_.backoff);
  v1::CompleteTasksRequest request;
  result.set_task(lease->task.name());
  result.set_lease_token(lease->token);
  const bool failed = result.has_failure();
  *request.add_results() = std::move(result);
  request.set_instance(options_.registration.instance());
  if (last && !leaving()) request.set_max_next_tasks(WantedTasks());
  absl::Status status;
  while (!stop.stopped()) {
    const int64_t generation = this->generation();
    {
      MutexLock lock(&mu_);
      request.set_worker(name_);
    }
    const absl::StatusOr<v1::CompleteTasksResponse> response = options_.fleet->Complete(request);
    if (response.ok()) {
      status = ToStatus(response->completions(0));
      if (last) next_ = Accept(response->next());
      break;
    }
    status = response.status();
    if (absl::IsNotFound(status)) {
      AwaitRegistration(generation, stop);
    } else if (absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status)) {
      break;
    } else {
      stop.wait(backoff.Next());
    }
  }
  leases_.Remove(lease->token);
  if (status.ok()) {
    FORALL_LOG(DEBUG) << (failed ? "failure " : "") << "acknowledged task=" << lease->task.name();
  } else {
    FORALL_LOG(WARNING) << "result was not taken: " << status.ToString()
                        << " task=" << lease->task.name() << " lease=" << lease->token;
  }
}

void Worker::GiveBack(const Lease& lease) {
  v1::ReleaseTaskRequest request;
  {
    MutexLock lock(&mu_);
    request.set_worker(name_);
  }
  request.set_task(lease->task.name());
  request.set_lease_token(lease->token);
  request.set_instance(options_.registration.instance());
  // When it cannot be told, the lease runs out by itself.
  const absl::Status status = options_.fleet->Release(request);
  leases_.Remove(lease->token);
  FORALL_LOG(INFO) << "task given back task=" << lease->task.name()
                   << (status.ok() ? "" : " (the controller was not told)");
}

bool Worker::leaving() const {
  MutexLock lock(&mu_);
  return draining_ || !refusal_.ok();
}

bool Worker::OutOfTime() const {
  MutexLock lock(&mu_);
  return !refusal_.ok() || (draining_ && options_.clock->SteadyNanos() >= drain_deadline_ns_);
}

StopSignal Worker::StopFor(const Lease& lease) {
  StopSignal stop;
  stop.stopped = [this, lease] { return lease->lost.load() || OutOfTime(); };
  stop.wait = [this, stopped = stop.stopped](absl::Duration delay) { WaitUnless(stopped, delay); };
  return stop;
}

StopSignal Worker::StopForLeaving() {
  StopSignal stop;
  stop.stopped = [this] { return leaving(); };
  stop.wait = [this, stopped = stop.stopped](absl::Duration delay) { WaitUnless(stopped, delay); };
  return stop;
}

void Worker::NoteChange() {
  ++changes_;
  changed_.SignalAll();
}

void Worker::WaitUnless(const std::function<bool()>& condition, absl::Duration at_most) {
  const int64_t until = options_.clock->SteadyNanos() + absl::ToInt64Nanoseconds(at_most);
  while (true) {
    int64_t seen = 0;
    {
      MutexLock lock(&mu_);
      seen = changes_;
    }
    if (condition()) return;  // not under the lock, which it may take itself
    MutexLock lock(&mu_);
    while (changes_ == seen) {
      const absl::Duration left = absl::Nanoseconds(until - options_.clock->SteadyNanos());
      if (left <= absl::ZeroDuration()) return;
      changed_.WaitWithTimeout(&mu_, left);
    }
  }
}

}  // namespace forall
